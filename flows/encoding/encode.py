"""Pixels -> codes: runs an encoder over a cohort and commits each case as it finishes.

Interrupted anywhere and run again, only the missing cases are encoded; a second run opens no image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.recipe import code_artifact
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CodeSetKey, EncoderSpec, FoldScope
from guidestore.encoders.checks import said_of
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.input_kind import InputKind, SourceRequest, input_kind, kind_of
from guidestore.encoders.kinds.tiles import SlideSource
from guidestore.encoders.lanes import in_lanes
from guidestore.encoders.own import given_encoder, info_of
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.registry import build_frozen, encoder_info, preset_of
from guidestore.encoders.sources import CaseImage, Item, Source, load_item
from guidestore.flows.encoding.committing import CodeBatch, OlderCodes, Quarantine, register_encoder
from guidestore.flows.encoding.images import images_of
from guidestore.flows.encoding.lookups import all_targets, only_split, only_target, split_folds
from guidestore.flows.encoding.seen import seen_notes
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.work.ahead import read_ahead
from guidestore.flows.work.devices import AUTO, CPU, devices_of, in_words, readers_for
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import EncodeReport, Progress, counted, no_progress
from guidestore.flows.work.threads import one_thread
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms

if TYPE_CHECKING:  # OpenSlide loads with it
    from guidestore.encoders.slides.stream import SlideJob


@dataclass(frozen=True)
class EncodePlan:
    """What an encode would do. `missing`: case that lacks codes -> how many of its images have theirs."""

    missing: dict[str, int]
    report: EncodeReport
    """Of the code set, what is there already, and notes."""


def encode(
    store: EmbeddingStore,
    settings: EncodeSettings,
    progress: Progress = no_progress,
    *,
    encoder: Encoder | None = None,
) -> EncodeReport:
    """Encodes what is missing. Raises GuidestoreError for what concerns all cases; single ones are quarantined.

    encoder: an object in place of the one that the settings name.
    """
    job = _Encode(store, with_first_name(store, settings), EncodeReport(), progress, given=encoder)
    job.run()
    snapshot = store.snapshot()
    job.report.snapshot = snapshot.version
    job.report.notes += seen_notes(snapshot, job.settings.cohort, [key.name for key in job.report.code_sets])
    return job.report


def plan_encode(store: EmbeddingStore, settings: EncodeSettings) -> EncodePlan:
    """What `encode` would do with an encoder that is not trained here. Opens no image."""
    job = _Encode(store, with_first_name(store, settings), EncodeReport(), no_progress, plan={})
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
    given: Encoder | None = None
    """In place of the encoder that the settings name."""

    def run(self) -> None:
        _ = self.read_at  # before anything else is read
        info = self.info
        self.report.device = in_words(self.devices)
        small = info.one_thread or (info.is_trained and self.settings.preset == "demo")
        with one_thread() if small else nullcontext():
            if info.is_trained:
                self.trained(info)
            else:
                self.frozen(info)

    def frozen(self, info: EncoderInfo) -> None:
        """Images -> codes, by an encoder that is not trained here."""
        settings = self.settings
        kind, source = self._source(info)
        arithmetic = {} if info.weights == "none" else settings.arithmetic.as_dict()
        encoders = [
            given_encoder(self.given, source.preprocessing)
            if self.given
            else build_frozen(
                settings.encoder,
                kind,
                source.preprocessing | arithmetic,
                weights=settings.weights,
                trained_on=FoldScope(settings.pretrained_on),
                device=device,
            )
            for device in self.devices
        ]
        if isinstance(source, SlideSource):
            self._bags(encoders, source)
        else:
            self._case_codes(encoders, {}, source)
            self.report.images_read += source.images_read

    def trained(self, info: EncoderInfo) -> None:
        """C_I or C_S: trained on each fold, then all cases -> case codes of that fold."""
        from guidestore.flows.encoding.training import FoldTraining

        settings, snapshot = self.settings, self.store.snapshot()
        targets = settings.targets or (
            all_targets(snapshot, settings.cohort) if info.multi_task else (only_target(snapshot, settings.cohort),)
        )
        split = settings.split or only_split(snapshot, settings.cohort)
        folds = settings.folds or split_folds(snapshot, settings.cohort, split)
        _, source = self._source(replace(info, photograph_px=preset_of(info.name, settings.preset).photograph_px))
        training = FoldTraining(
            self.store, settings, source, tuple(dict.fromkeys(targets)), self.devices, self.report, self.progress
        )
        for fold in folds:
            encoders, config = training.encoders(FoldScope.of(settings.cohort, split, fold))
            self._case_codes(encoders, config, source)
        self.report.images_read += source.images_read

    def _source(self, info: EncoderInfo) -> tuple[InputKind, Source]:
        """The items to encode. Raises InvalidInputError where the cohort's images are not what the encoder takes."""
        kind, images = input_kind(info.takes[0]), []
        if kind.reads_images:
            images = self._images()
            as_slides = [image.at_mpp(self.settings.slide_mpp) for image in images]
            kind = kind_of(as_slides, info.takes)
            images = as_slides if kind.name == "tiles" else images
            if kind.name not in info.takes:
                wanted = " or ".join(input_kind(name).images for name in info.takes)
                raise InvalidInputError(
                    f"encoder {info.name} takes {wanted}, and the images of modality {self.settings.modality} are "
                    f"{kind.images}; `guidestore encoders` lists those for them"
                )
        request = SourceRequest(self.store.snapshot(), images, self.settings, info, again=info.is_trained)
        return kind, kind.source(request)

    def _bags(self, encoders: Sequence[Encoder], source: SlideSource) -> None:
        """Slides -> bags, each committed as it finishes, while the next ones are encoded."""
        from guidestore.encoders.slides.encode import encode_slides

        encoder, *also = encoders
        key = self._code_set(encoder.spec)
        todo, older = self._missing(key, source.items)
        jobs = [source.job(item) for item in todo]
        what = f"{key.modality}/{key.encoder}"
        # Closed on the way out, so that an interrupted encode leaves no reader behind.
        dtype = self.settings.bag_dtype
        with closing(encode_slides(jobs, encoder, source.tiling, also=also, dtype=dtype, readers=self.readers)) as bags:
            for job, bag in counted(bags, len(jobs), what, self.progress):
                self._commit_bag(key, encoder.spec, job, bag, older)

    def _commit_bag(
        self, key: CodeSetKey, spec: EncoderSpec, job: SlideJob, bag: Bag | InvalidInputError, older: OlderCodes
    ) -> None:
        item: Any = job.key
        self.report.images_read += 1
        with self._quarantining(key, item):
            if isinstance(bag, InvalidInputError):
                raise bag
            if not len(bag):
                raise InvalidInputError(f"slide {job.path} shows no tissue; check the file, or leave the case out")
            said = item.pixels.get("mpp", bag.mpp)
            if said != bag.mpp:
                raise InvalidInputError(
                    f"slide {job.path} is of {bag.mpp:g} um per pixel, and was of {said:g} when the cohort was added, "
                    "by another guidestore; add the cohort again"
                )
            with self.store.begin(
                f"{key}: {item.case_id}", device=self.report.device, read_at=self.read_at
            ) as transaction:
                register_encoder(transaction, spec, {})
                artifact = transaction.write_bag(
                    key, item.case_id, item.image_id, bag, input_digests=item.digests, pixels=item.pixels
                )
                older.supersede(transaction, item, artifact)
            self.report.encoded += 1

    def _case_codes(self, encoders: Sequence[Encoder], config: Mapping[str, Any], source: Source) -> None:
        encoder = encoders[0]
        key = self._code_set(encoder.spec)
        fold = f", fold {key.trained_on.fold}" if key.trained_on.split else ""
        todo, older = self._missing(key, source.items)
        what = f"{key.modality}/{key.encoder}{fold}"
        items = _one_by_one(read_ahead(partial(load_item, source), todo, self.readers))
        with (
            CodeBatch(self.store, key, encoder.spec, config, older, self.read_at, self.report.device) as batch,
            closing(in_lanes(items, encoders, ahead=2 * len(encoders))) as coded,
        ):
            for (item, loaded), code_bd in counted(coded, len(todo), what, self.progress):
                with self._quarantining(key, item):
                    if isinstance(loaded, InvalidInputError):
                        raise loaded
                    if isinstance(code_bd, Exception):
                        with said_of(f"encoder {key.encoder} cannot encode case {item.case_id}", "leave the case out"):
                            raise code_bd
                    if code_bd is None or not np.isfinite(code_bd).all():
                        raise InvalidInputError(f"encoder {key.encoder} gave case {item.case_id} a code of NaN")
                    batch.add(item, code_bd[0], _attention(encoder, source, item, loaded))
                    self.report.encoded += 1

    # Small parts -----------------------------------------------------------------------------------------------

    @cached_property
    def read_at(self) -> int:
        """A case that is purged after this commit does not come back by a code of it."""
        return self.store.snapshot().read_at

    @cached_property
    def info(self) -> EncoderInfo:
        return info_of(self.given) if self.given else encoder_info(self.settings.encoder)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """Of the encoder; one without a network computes on the CPU, and torch is not asked."""
        asked = self.settings.device
        if self.info.weights == "none":
            if asked != AUTO:
                devices_of(asked)
            return (CPU,)
        return devices_of(asked)

    @property
    def readers(self) -> int:
        return self.settings.readers or readers_for(self.devices)

    @cached_property
    def cases(self) -> frozenset[str]:
        """Those asked for; empty: all."""
        return frozenset(self.settings.cases)

    def _images(self) -> list[CaseImage]:
        settings = self.settings
        paths = Pseudonyms.load(settings.key).image_paths(settings.cohort) if settings.key else None
        images, incomplete = images_of(self.store.snapshot(), settings.cohort, settings.modality, paths)
        self.report.notes += incomplete
        if not images:
            raise NotFoundInStoreError(f"no case of cohort {settings.cohort} can be encoded: {incomplete[0]}")
        if paths:
            self.hidden.update({str(file.path): image.image_id for image in images for file in image.files})
        return images

    def _code_set(self, spec: EncoderSpec) -> CodeSetKey:
        key = CodeSetKey.of(self.settings.cohort, self.settings.modality, spec)
        self.report.code_sets.append(key)
        return key

    def _missing(self, key: CodeSetKey, items: Sequence[Item]) -> tuple[list[Item], OlderCodes]:
        """The items that lack their code, and the codes that they have of another recipe."""
        wanted = [item for item in items if not self.cases or item.case_id in self.cases]
        unknown = self.cases - {item.case_id for item in wanted}
        if unknown:
            raise NotFoundInStoreError(
                f"cohort {key.cohort} has no case {min(unknown)} with {key.modality} to encode; `guidestore sql` lists "
                "its images: FROM images"
            )
        snapshot = self.store.snapshot()
        have = snapshot.artifacts
        todo = [
            item
            for item in wanted
            if code_artifact(key, item.case_id, item.image_id, item.digests, item.pixels) not in have
        ]
        self.report.existing += len(wanted) - len(todo)
        if self.plan is None:
            return todo, OlderCodes.of(snapshot, key, todo)
        images, lacking = (Counter(item.case_id for item in some) for some in (wanted, todo))
        self.plan.update({case: images[case] - count for case, count in lacking.items()})
        return [], OlderCodes({})

    def _quarantining(self, key: CodeSetKey, item: Item) -> Quarantine:
        return Quarantine(self.store, key, item, self.report, self.hidden)


def _one_by_one(
    items: Generator[tuple[Item, Any]],
) -> Generator[tuple[tuple[Item, Any], Any]]:
    """Each item as a batch: a code is then the same bits whatever else is missing. None for what could not be read."""
    with closing(items):
        for item, loaded in items:
            if isinstance(loaded, InvalidInputError):
                yield (item, loaded), None
            else:
                yield (item, loaded), loaded[None] if isinstance(loaded, np.ndarray) else [loaded]


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
