"""`encode` on Ray: the cases that lack codes, in batches; an encoder that is trained, fold by fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.registry import encoder_info
from guidestore.flows.cluster.cluster import prepare_ray
from guidestore.flows.cluster.flow import Batches, run_on_ray
from guidestore.flows.cluster.tasks import encode_task, plan_task, train_task
from guidestore.flows.encoding.encode import EncodePlan
from guidestore.flows.encoding.lookups import only_split, split_folds
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.work.devices import also_on
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import EncodeReport, Progress, no_progress
from guidestore.flows.work.runners import Runner

SHOWN_CASES = 5
"""Named in an error."""


def encode_on_ray(
    store: EmbeddingStore, settings: EncodeSettings, runner: Runner, progress: Progress = no_progress
) -> EncodeReport:
    """`encode` on a cluster: each worker commits its own cases. Raises GuidestoreError."""
    info = encoder_info(settings.encoder)  # a misspelt name is said before anything is started
    prepare_ray(runner, settings.device)
    # A worker has another working folder.
    files = {"weights": settings.weights, "key": settings.key}
    on_worker = {name: file and file.absolute() for name, file in files.items()}
    settings = with_first_name(store, settings)
    work = EncodeOnRay(store, settings.model_copy(update=on_worker), progress)
    name = f"encode {settings.cohort}/{settings.modality}/{settings.encoder}"
    run_on_ray(name, runner, work.folds if info.is_trained else work.cases)
    work.report.snapshot = store.snapshot().version
    return work.report


@dataclass
class EncodeOnRay:
    """The work of one encode in a flow on Ray, and its report."""

    store: EmbeddingStore
    settings: EncodeSettings
    """As the workers take them."""
    progress: Progress
    report: EncodeReport = field(default_factory=EncodeReport)

    def folds(self, batches: Batches) -> None:
        """One task for each fold: it trains the fold's encoder and encodes all cases."""
        settings = self.settings
        snapshot = self.store.snapshot()
        split = settings.split or only_split(snapshot, settings.cohort)
        folds = settings.folds or split_folds(snapshot, settings.cohort, split)
        settings = settings.model_copy(update={"split": split})
        what = f"{settings.encoder} of {len(folds)} folds"
        done: list[int] = []

        def finished(folds_: list[int], report: EncodeReport) -> None:
            done.extend(folds_)
            self._add(report)
            self.report.existing += report.existing
            self.progress(what, len(done), len(folds))

        self.progress(what, 0, len(folds))
        lost = batches.many(train_task, folds, finished, self.store.storage.url, settings, most=1)
        if lost:
            raise _given_up([f"fold {fold}" for fold in lost])

    def cases(self, batches: Batches) -> None:
        """Batches of cases. What is missing is planned by a worker; the driver holds no network."""
        settings = self.settings
        plan: EncodePlan = batches.one(plan_task, self.store.storage.url, settings)
        self.report = replace(plan.report, device="")  # of the workers that encode
        (key,) = plan.report.code_sets
        what, total = f"{key.modality}/{key.encoder}", len(plan.missing)
        done: list[str] = []

        def finished(cases: list[str], report: EncodeReport) -> None:
            done.extend(cases)
            self._add(report)
            # What was there already of cases that lacked some was counted; the rest is of a worker that was lost.
            self.report.encoded += report.existing - sum(plan.missing[case] for case in cases)
            self.progress(what, len(done), total)

        self.progress(what, 0, total)
        lost = batches.many(encode_task, list(plan.missing), finished, self.store.storage.url, settings)
        snapshot = self.store.snapshot()
        have = {entry.case_id for entry in snapshot.code_set_entries(key)} if key in snapshot.code_sets else set()
        lacking = [case for case in plan.missing if case not in have and case not in self.report.failed]
        if lost and lacking:
            raise _given_up(lacking)
        if lacking:
            raise GuidestoreError(
                f"{len(lacking)} cases were encoded by workers and are not in the store here ({_some(lacking)}): every "
                "node must see the same folder under the path of the store, or the store be on s3://"
            )

    def _add(self, other: EncodeReport) -> None:
        mine = self.report
        mine.code_sets += [key for key in other.code_sets if key not in mine.code_sets]
        mine.notes += [note for note in other.notes if note not in mine.notes]
        for device in filter(None, other.device.split(", ")):
            mine.device = also_on(mine.device, device)
        mine.encoded += other.encoded
        mine.trained += other.trained
        mine.images_read += other.images_read
        mine.failed |= other.failed


def _given_up(what: Sequence[str]) -> GuidestoreError:
    return GuidestoreError(
        "the workers of some batches were lost again and again (out of memory?), and codes are missing of "
        f"{len(what)}: {_some(what)}; what was committed is safe, run the same command again to go on"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_CASES]) + (", …" if len(names) > SHOWN_CASES else "")
