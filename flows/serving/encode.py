"""The deployment `encode`: images of one modality -> codes. An encoder has its GPU to itself."""

from __future__ import annotations

from prefect import flow, get_run_logger

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.words import count_of
from guidestore.encoders.registry import encoder_infos
from guidestore.flows.encoding.encode import encode as encode_images
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.engine.running import HOUR, one_sentence, shown, step
from guidestore.flows.serving.artifacts import show_quarantine, show_table
from guidestore.flows.serving.devices import one_encoder_on
from guidestore.flows.serving.forms import Devices, asked, form_of, key_file, one_of, opened_store, ray_address
from guidestore.flows.serving.notes import log_notes
from guidestore.flows.work.devices import AUTO
from guidestore.flows.work.reporting import EncodeReport
from guidestore.flows.work.runners import Runner

_NOT_ASKED = ("cases", "weights", "pretrained_on", "key", "ray_address")
_OF_VOLUMES = ("volume_shape_vox", "volume_spacing_mm", "volume_fit", "trust_geometry")


class EncodeForm(form_of(EncodeSettings, Runner, without=(*_NOT_ASKED, *_OF_VOLUMES))):
    """Images of one modality -> codes; only what the store lacks is encoded."""

    encoder: str = one_of(tuple(encoder_infos()), "Name of an encoder.")
    device: Devices = AUTO


@flow(name="encode", timeout_seconds=7 * 24 * HOUR, persist_result=False)
@one_sentence
def encode(settings: EncodeForm) -> None:
    """Encodes what the store lacks. A case that cannot be read goes into quarantine, and the others go on."""
    report = encode_missing(settings)
    rows = [{"code set": str(key), "kind": key.kind, "dimensions": key.code_dim} for key in report.code_sets]
    counts = f"{report.encoded} encoded, {report.existing} there already, {count_of(report.images_read, 'image')} read"
    show_table("encode-code-sets", rows, f"{counts}; snapshot {report.snapshot}.")
    if report.failed:
        show_quarantine("encode-quarantine", report.failed)


@step("encode", cached=lambda report: not (report.encoded or report.failed))
def encode_missing(settings: EncodeForm) -> EncodeReport:
    """One commit per slide, or per batch of case codes."""
    wanted = asked(settings, EncodeSettings, key=key_file())
    runner = asked(settings, Runner, ray_address=ray_address())
    with opened_store(resumes=True) as store:
        if runner.task_runner == "ray":
            from guidestore.flows.cluster.encode import encode_on_ray  # it sets what Prefect logs, and loads Ray

            return _told(store, encode_on_ray(store, wanted, runner, shown()))
        with one_encoder_on(settings.device):
            return _told(store, encode_images(store, wanted, shown()))


def _told(store: EmbeddingStore, report: EncodeReport) -> EncodeReport:
    """The report, which the run's log has too: before the device is free for others."""
    log = get_run_logger()
    log_notes(report.notes, store.snapshot())
    log.info(
        "images read: %d; codes made: %d, there already: %d; quarantined: %d; on %s",
        report.images_read,
        report.encoded,
        report.existing,
        len(report.failed),
        report.device,
    )
    return report
