"""The deployment `encode`: images of one modality -> codes. An encoder has its GPU to itself."""

from __future__ import annotations

from typing import Literal

from prefect import flow, get_run_logger

from guidestore.encoders.registry import encoder_infos
from guidestore.flows.encoding.encode import encode as encode_images
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.engine.running import HOUR, one_sentence, shown, step
from guidestore.flows.serving.artifacts import show_quarantine, show_table
from guidestore.flows.serving.devices import one_encoder_on
from guidestore.flows.serving.forms import Device, Form, key_file, one_of, opened_store, ray_address, same_as
from guidestore.flows.work.reporting import EncodeReport
from guidestore.flows.work.runners import Runner
from guidestore.flows.work.settings import Fold, validated


class EncodeForm(Form):
    """Images of one modality -> codes; only what the store lacks is encoded."""

    cohort: str = same_as(EncodeSettings, "cohort")
    modality: str = same_as(EncodeSettings, "modality")
    encoder: str = one_of(tuple(encoder_infos()), "Name of an encoder.")
    split: str = same_as(EncodeSettings, "split")
    folds: tuple[Fold, ...] = same_as(EncodeSettings, "folds", description="Folds to work on; empty: all of the split.")
    targets: tuple[str, ...] = same_as(EncodeSettings, "targets")
    seed: int = same_as(EncodeSettings, "seed")
    preset: Literal["demo", "paper"] = same_as(EncodeSettings, "preset")
    patch_encoder: str = same_as(EncodeSettings, "patch_encoder")
    photograph_px: int | None = same_as(EncodeSettings, "photograph_px")
    tile_size_px: int | None = same_as(EncodeSettings, "tile_size_px")
    target_mpp: float | None = same_as(EncodeSettings, "target_mpp")
    bag_dtype: Literal["float16", "float32"] = same_as(EncodeSettings, "bag_dtype")
    device: Device = "cpu"
    task_runner: Literal["threads", "ray"] = same_as(Runner, "task_runner")
    gpus_per_task: float = same_as(Runner, "gpus_per_task")


@flow(name="encode", timeout_seconds=7 * 24 * HOUR, persist_result=False)
@one_sentence
def encode(settings: EncodeForm) -> None:
    """Encodes what the store lacks. A case that cannot be read goes into quarantine, and the others go on."""
    report = encode_missing(settings)
    rows = [{"code set": str(key), "kind": key.kind, "dimensions": key.code_dim} for key in report.code_sets]
    counts = f"{report.encoded} encoded, {report.existing} there already, {report.images_read} images read"
    show_table("encode-code-sets", rows, f"{counts}; snapshot {report.snapshot}.")
    if report.failed:
        show_quarantine("encode-quarantine", report.failed)


@step("encode", cached=lambda report: not (report.encoded or report.failed))
def encode_missing(settings: EncodeForm) -> EncodeReport:
    """One commit per slide, or per batch of case codes."""
    log = get_run_logger()
    asked = {name: getattr(settings, name) for name in EncodeForm.model_fields if name in EncodeSettings.model_fields}
    wanted = validated(EncodeSettings, key_file=key_file(), **asked)
    with opened_store() as store:
        if settings.task_runner == "ray":
            from guidestore.flows.cluster.encode import encode_on_ray  # it sets what Prefect logs, and loads Ray

            runner = Runner(task_runner="ray", ray_address=ray_address(), gpus_per_task=settings.gpus_per_task)
            report = encode_on_ray(store, wanted, runner, shown())
        else:
            with one_encoder_on(settings.device):
                report = encode_images(store, wanted, shown())
    for note in report.notes:
        log.info("note: %s", note)
    log.info(
        "images read: %d; codes made: %d, there already: %d; quarantined: %d",
        report.images_read,
        report.encoded,
        report.existing,
        len(report.failed),
    )
    return report
