"""Pixels -> codes: runs an encoder over a cohort and commits each case as it finishes.

Interrupted anywhere and run again, only the missing cases are encoded; a second run opens no image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.recipe import code_artifact
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CodeSetKey, EncoderSpec, FoldScope
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.registry import (
    MULTI_TASK,
    TRAINED,
    WEIGHTS_FREE,
    build_encoder,
    input_kinds,
    patch_encoder_facts,
    photograph_size_px,
)
from guidestore.flows.encoding.cohort_facts import all_targets, only_split, only_target, split_folds
from guidestore.flows.encoding.committing import CodeBatch, Quarantine, register_encoder
from guidestore.flows.encoding.images import CaseImage, are_photographs, images_of
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.encoding.sources import (
    KEPT_PHOTOGRAPH_BYTES,
    BagSource,
    Item,
    PhotographSource,
    Source,
    VolumeSource,
)
from guidestore.flows.work.ahead import read_ahead
from guidestore.flows.work.reporting import EncodeReport, Progress, counted, no_progress
from guidestore.flows.work.threads import check_device, one_thread
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms
from guidestore.warehouse.indexer import build_index

if TYPE_CHECKING:  # OpenSlide loads with it
    from guidestore.encoders.slides.stream import SlideJob


@dataclass(frozen=True)
class EncodePlan:
    """What an encode would do. `missing`: case that lacks codes -> how many of its images have theirs."""

    missing: dict[str, int]
    report: EncodeReport
    """Of the code set, what is there already, and notes."""


def encode(settings: EncodeSettings, progress: Progress = no_progress) -> EncodeReport:
    """Encodes what is missing. Raises GuidestoreError for what concerns all cases; single ones are quarantined."""
    store = EmbeddingStore.open(settings.store)
    report = encode_cases(settings, progress)
    report.snapshot = store.snapshot().version
    build_index(store)
    return report


def encode_cases(settings: EncodeSettings, progress: Progress) -> EncodeReport:
    """`encode` in this process, without the index: what a batch is to a worker of a cluster."""
    job = _Encode(EmbeddingStore.open(settings.store), settings, EncodeReport(), progress)
    job.run()
    return job.report


def plan_encode(settings: EncodeSettings) -> EncodePlan:
    """What `encode_cases` would do with an encoder that is not trained here. Opens no image."""
    job = _Encode(EmbeddingStore.open(settings.store), settings, EncodeReport(), no_progress, plan={})
    job.run()
    return EncodePlan(job.plan or {}, job.report)


@dataclass(frozen=True)
class _Encode:
    store: EmbeddingStore
    settings: EncodeSettings
    report: EncodeReport
    progress: Progress
    hidden: dict[str, str] = field(default_factory=dict)
    """What must not reach the store: the paths of a pseudonymized cohort, which hold patient ids -> image id."""
    plan: dict[str, int] | None = None
    """Where given, it is filled (see `EncodePlan`) and nothing is encoded."""

    def run(self) -> None:
        settings = self.settings
        check_device(settings.device)
        kinds = input_kinds(settings.encoder)
        small = settings.encoder in ("texture", "first_order") or (
            settings.encoder in TRAINED and settings.preset == "demo"
        )
        with one_thread() if small else nullcontext():
            if settings.encoder in TRAINED:
                self.trained(kinds[0])
            elif kinds == ("volumes",):
                self.volumes()
            else:
                self.pictures(kinds)

    def pictures(self, kinds: Sequence[str]) -> None:
        """Slides or photographs, as the cohort has them. Raises InvalidInputError where the encoder takes the other."""
        settings, images = self.settings, self._images()
        kind = "photographs" if are_photographs(images) else "tiles"
        if kind not in kinds:
            has, wants = ("photographs", "slides") if kind == "photographs" else ("slides", "photographs")
            raise InvalidInputError(
                f"encoder {settings.encoder} takes {wants}, and the images of modality {settings.modality} are {has}; "
                "`guidestore encoders` lists those for them"
            )
        if kind == "photographs":
            self._photographs(images)
        else:
            self._slides(images)

    def _slides(self, images: Sequence[CaseImage]) -> None:
        """Slides -> bags, each committed as it finishes."""
        from guidestore.encoders.slides.encode import encode_slides
        from guidestore.encoders.slides.stream import SlideJob
        from guidestore.encoders.slides.tiling import TilingSettings

        settings = self.settings
        tile_size_px, target_mpp = patch_encoder_facts(settings.encoder)
        tiling = TilingSettings(settings.target_mpp or target_mpp, settings.tile_size_px or tile_size_px)
        encoder = build_encoder(settings.encoder, preprocessing=tiling.as_dict(), **self._loading())
        key = self._code_set(encoder.spec)
        items = [Item(image.case_id, image.image_id, image.sha256s) for image in images]
        by_id = {(image.case_id, image.image_id): image for image in images}
        todo = self._missing(key, items)
        what = f"{key.modality}/{key.encoder}"
        jobs = []
        for item in todo:
            with self._quarantining(key, item):
                image = by_id[item.case_id, item.image_id]
                image.check_unchanged()
                (path,) = image.files.values()
                jobs.append(SlideJob(path, image.mpp, item))
        # Closed on the way out, so that an interrupted encode leaves no reader behind.
        with closing(encode_slides(jobs, encoder, tiling, dtype=settings.bag_dtype)) as bags:
            for job, bag in counted(bags, len(jobs), what, self.progress):
                self._commit_bag(key, encoder.spec, job, bag)

    def _commit_bag(self, key: CodeSetKey, spec: EncoderSpec, job: SlideJob, bag: Bag | InvalidInputError) -> None:
        item: Any = job.key
        self.report.images_read += 1
        with self._quarantining(key, item):
            if isinstance(bag, InvalidInputError):
                raise bag
            if not len(bag):
                raise InvalidInputError(f"slide {job.path} shows no tissue; check the file, or leave the case out")
            with self.store.begin(f"{key}: {item.case_id}") as transaction:
                register_encoder(transaction, spec, {})
                transaction.write_bag(key, item.case_id, item.image_id, bag, input_digests=item.digests)
            self.report.encoded += 1

    def volumes(self) -> None:
        """Volumes -> case codes, by an encoder that is not trained here."""
        source = self._volume_source()
        encoder = build_encoder(
            self.settings.encoder, channels=source.input_width, preprocessing=source.preprocessing, **self._loading()
        )
        self._case_codes(encoder, {}, source)
        self.report.images_read += source.images_read

    def _photographs(self, images: Sequence[CaseImage]) -> None:
        """Photographs -> case codes."""
        settings = self.settings
        source = PhotographSource(images, settings.photograph_px or photograph_size_px(settings.encoder))
        loading = self._loading()
        if loading:
            loading["input_kind"] = "photographs"
        encoder = build_encoder(settings.encoder, preprocessing=source.preprocessing, **loading)
        self._case_codes(encoder, {}, source)
        self.report.images_read += source.images_read

    def trained(self, kind: str) -> None:
        """C_I or C_S: trained on each fold, then all cases -> case codes of that fold."""
        from guidestore.flows.encoding.training import FoldTraining

        settings, snapshot = self.settings, self.store.snapshot()
        targets = settings.targets or (
            all_targets(snapshot, settings.cohort)
            if settings.encoder in MULTI_TASK
            else (only_target(snapshot, settings.cohort),)
        )
        split = settings.split or only_split(snapshot, settings.cohort)
        folds = settings.folds or split_folds(snapshot, settings.cohort, split)
        source: Source
        if kind == "volumes":
            source = self._volume_source()
        elif kind == "photographs":
            from guidestore.encoders.presets import trainable

            size_px = settings.photograph_px or trainable(settings.encoder, settings.preset).photograph_px
            source = PhotographSource(self._images(), size_px, KEPT_PHOTOGRAPH_BYTES)
        else:
            source = BagSource(snapshot, settings.cohort, settings.modality, settings.patch_encoder)
        training = FoldTraining(self.store, settings, source, tuple(dict.fromkeys(targets)), self.report, self.progress)
        for fold in folds:
            encoder, config = training.encoder(FoldScope.of(settings.cohort, split, fold))
            self._case_codes(encoder, config, source)
        self.report.images_read += source.images_read

    def _case_codes(self, encoder: Encoder, config: Mapping[str, Any], source: Source) -> None:
        key = self._code_set(encoder.spec)
        fold = f", fold {key.trained_on.fold}" if key.trained_on.split else ""
        todo = self._missing(key, source.items)
        what = f"{key.modality}/{key.encoder}{fold}"
        with CodeBatch(self.store, key, encoder.spec, config) as batch:
            for item, loaded in counted(read_ahead(source.load, todo), len(todo), what, self.progress):
                with self._quarantining(key, item):
                    if isinstance(loaded, InvalidInputError):
                        raise loaded
                    # One by one: a code is then the same bits whatever else is missing.
                    code_bd = encoder.encode(loaded[None] if isinstance(loaded, np.ndarray) else [loaded])
                    if not np.isfinite(code_bd).all():
                        raise InvalidInputError(f"encoder {key.encoder} gave case {item.case_id} a code of NaN")
                    batch.add(item, code_bd[0], _attention(encoder, source, item, loaded))
                    self.report.encoded += 1

    # Small parts -----------------------------------------------------------------------------------------------

    @cached_property
    def cases(self) -> frozenset[str]:
        """Those asked for; empty: all."""
        return frozenset(self.settings.cases)

    def _images(self) -> list[CaseImage]:
        settings = self.settings
        paths = Pseudonyms.load(settings.key_file).image_paths(settings.cohort) if settings.key_file else None
        images, incomplete = images_of(self.store.snapshot(), settings.cohort, settings.modality, paths)
        self.report.notes += incomplete
        if paths:
            self.hidden.update({str(path): image.image_id for image in images for path in image.files.values()})
        return images

    def _volume_source(self) -> VolumeSource:
        return VolumeSource(self._images(), *self.settings.volume_parameters)

    def _loading(self) -> dict[str, Any]:
        """How an encoder with weights of its own is built; one without takes nothing."""
        if self.settings.encoder in WEIGHTS_FREE:
            if self.settings.weights:
                raise InvalidInputError(f"encoder {self.settings.encoder} has no weights; leave --weights out")
            return {}
        settings = self.settings
        return {
            "weights": settings.weights,
            "device": settings.device,
            "trained_on": FoldScope(settings.pretrained_on),
        }

    def _code_set(self, spec: EncoderSpec) -> CodeSetKey:
        key = CodeSetKey.of(self.settings.cohort, self.settings.modality, spec)
        self.report.code_sets.append(key)
        return key

    def _missing(self, key: CodeSetKey, items: Sequence[Item]) -> list[Item]:
        wanted = [item for item in items if not self.cases or item.case_id in self.cases]
        unknown = self.cases - {item.case_id for item in wanted}
        if unknown:
            raise NotFoundInStoreError(
                f"cohort {key.cohort} has no case {min(unknown)} with {key.modality} to encode; `guidestore sql` lists "
                "its images: FROM images"
            )
        have = self.store.snapshot().artifacts
        todo = [item for item in wanted if code_artifact(key, item.case_id, item.image_id, item.digests) not in have]
        self.report.existing += len(wanted) - len(todo)
        if self.plan is None:
            return todo
        images, lacking = (Counter(item.case_id for item in some) for some in (wanted, todo))
        self.plan.update({case: images[case] - count for case, count in lacking.items()})
        return []

    def _quarantining(self, key: CodeSetKey, item: Item) -> Quarantine:
        return Quarantine(self.store, key, item, self.report, self.hidden)


def _attention(encoder: Any, source: Any, item: Item, bag: Any) -> list[dict[str, Any]]:
    """One row for each slide of the case and branch, where the encoder says where it looked."""
    if not hasattr(encoder, "attention"):
        return []
    rows, start = [], 0
    attention_jn = encoder.attention(bag)
    for image_id, artifact, tiles in source.slides(item):
        for branch, weights_n in enumerate(attention_jn[:, start : start + tiles]):
            rows.append({"image_id": image_id, "bag": artifact, "branch": branch, "attention": weights_n.tolist()})
        start += tiles
    return rows
