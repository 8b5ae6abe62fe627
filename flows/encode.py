"""Pixels -> codes: runs an encoder over a cohort and commits each case as it finishes.

Interrupted anywhere and run again, only the missing cases are encoded; a second run opens no image.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np

from embeddings.canonical import canonical_json
from embeddings.errors import InvalidInputError
from embeddings.pairing import labels_of, parts_of
from embeddings.recipe import code_artifact, weights_artifact
from embeddings.store import EmbeddingStore, Transaction, versions
from embeddings.types import CaseCodes, CodeSetKey, EncoderSpec, FoldScope
from encoders.protocol import Encoder
from encoders.registry import TRAINED, build_encoder
from flows.cohort_facts import only_split, only_target, split_folds
from flows.images import CaseImage, images_of
from flows.settings import EncodeSettings
from flows.sources import BagSource, Item, Source, VolumeSource
from flows.threads import one_thread
from warehouse.cohorts.pseudonyms import Pseudonyms
from warehouse.indexer import build_index

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total)."""

BATCH_CODES = 64
BATCH_SECONDS = 30.0
"""Case codes commit in batches of this many or this long: 1,500 one-row files would read 30 times slower than one."""


def no_progress(what: str, done: int, total: int) -> None:
    """For callers that want none."""


@dataclass
class EncodeReport:
    """What an encode did. `failed`: case -> the sentence why; those cases are in quarantine, the rest is done."""

    code_sets: list[CodeSetKey] = field(default_factory=list)
    encoded: int = 0
    existing: int = 0
    trained: int = 0
    images_read: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    snapshot: int = 0


def encode(settings: EncodeSettings, progress: Progress = no_progress) -> EncodeReport:
    """Encodes what is missing. Raises GuidestoreError for what concerns all cases; single ones are quarantined."""
    store = EmbeddingStore.open(settings.store)
    job = _Encode(store, settings, EncodeReport(), progress)
    paper_size = settings.encoder in TRAINED and settings.preset == "paper"
    with nullcontext() if paper_size else one_thread():
        if settings.encoder in TRAINED:
            job.trained()
        else:
            job.weights_free()
    job.report.snapshot = store.snapshot().version
    build_index(store)
    return job.report


@dataclass(frozen=True)
class _Encode:
    store: EmbeddingStore
    settings: EncodeSettings
    report: EncodeReport
    progress: Progress
    hidden: dict[str, str] = field(default_factory=dict)
    """What must not reach the store: the paths of a pseudonymized cohort, which hold patient ids -> image id."""

    def weights_free(self) -> None:
        if build_encoder(self.settings.encoder).spec.input_kind == "tiles":
            self._slides()
            return
        source = self._volume_source()
        encoder = build_encoder(self.settings.encoder, channels=source.input_width, preprocessing=source.preprocessing)
        self._case_codes(encoder, {}, source)
        self.report.images_read += source.images_read

    def trained(self) -> None:
        from encoders.presets import trainable

        snapshot = self.store.snapshot()
        settings = self.settings
        target = settings.target or only_target(snapshot, settings.cohort)
        split = settings.split or only_split(snapshot, settings.cohort)
        folds = settings.folds or split_folds(snapshot, settings.cohort, split)
        source: Source
        if trainable(settings.encoder, settings.preset).input_kind == "volumes":
            source = self._volume_source()
        else:
            source = BagSource(snapshot, settings.cohort, settings.modality, settings.patch_encoder)
        for fold in folds:
            encoder, config = self._trained_encoder(source, target, FoldScope.of(settings.cohort, split, fold))
            self._case_codes(encoder, config, source)
        self.report.images_read += source.images_read

    # Where pixels come from ------------------------------------------------------------------------------------

    def _images(self) -> list[CaseImage]:
        settings = self.settings
        paths = Pseudonyms.load(settings.key_file).image_paths(settings.cohort) if settings.key_file else None
        images, incomplete = images_of(self.store.snapshot(), settings.cohort, settings.modality, paths)
        self.report.notes += incomplete
        if paths:
            self.hidden.update({str(path): image.image_id for image in images for path in image.files.values()})
        return images

    def _volume_source(self) -> VolumeSource:
        return VolumeSource(self._images(), self.settings.volume_shape_vox, self.settings.volume_spacing_mm)

    # Slides -> bags --------------------------------------------------------------------------------------------

    def _slides(self) -> None:
        from encoders.slides.encode import encode_slide
        from encoders.slides.tiling import TilingSettings

        tiling = TilingSettings(target_mpp=self.settings.target_mpp, tile_size_px=self.settings.tile_size_px)
        encoder = build_encoder(self.settings.encoder, preprocessing=tiling.as_dict())
        key = self._code_set(encoder.spec)
        images = self._images()
        items = [Item(image.case_id, image.image_id, image.sha256s) for image in images]
        by_id = {image.image_id: image for image in images}
        todo = self._missing(key, items)
        for item in self._counted(todo, f"{key.modality}/{key.encoder}"):
            image = by_id[item.image_id]
            (path,) = image.files.values()
            with self._quarantining(key, item):
                image.check_unchanged()
                self.report.images_read += 1
                bag = encode_slide(path, encoder, tiling, image.mpp)
                if not len(bag):
                    raise InvalidInputError(f"slide {path} shows no tissue; check the file, or leave the case out")
                with self.store.begin(f"{key}: {item.case_id}") as transaction:
                    register_encoder(transaction, encoder.spec, {})
                    transaction.write_bag(key, item.case_id, item.image_id, bag, input_digests=item.digests)
                self.report.encoded += 1

    # Volumes or bags -> case codes -----------------------------------------------------------------------------

    def _case_codes(self, encoder: Encoder, config: Mapping[str, Any], source: Source) -> None:
        key = self._code_set(encoder.spec)
        fold = f", fold {key.trained_on.fold}" if key.trained_on.split else ""
        todo = self._missing(key, source.items)
        with _CodeBatch(self.store, key, encoder.spec, config) as batch:
            for item in self._counted(todo, f"{key.modality}/{key.encoder}{fold}"):
                with self._quarantining(key, item):
                    code_bd = encoder.encode(source.load([item]))
                    if not np.isfinite(code_bd).all():
                        raise InvalidInputError(f"encoder {key.encoder} gave case {item.case_id} a code of NaN")
                    batch.add(item, code_bd[0])
                    self.report.encoded += 1

    # C_I and C_S -----------------------------------------------------------------------------------------------

    def _trained_encoder(self, source: Source, target: str, scope: FoldScope) -> tuple[Encoder, dict[str, Any]]:
        """The encoder of one fold: from the store where it was trained before, else trained and committed with D."""
        from encoders.presets import trainable

        settings = self.settings
        snapshot = self.store.snapshot()
        parts = parts_of(snapshot, settings.cohort, scope.split, scope.fold)
        classes, labels = labels_of(snapshot, settings.cohort, target)
        preset = trainable(settings.encoder, settings.preset)
        rows = {
            part: [item for item in source.items if parts.get(item.case_id) == part and item.case_id in labels]
            for part in ("train", "val")
        }
        for part, items in rows.items():
            if not items:
                raise InvalidInputError(
                    f"{scope} has no labelled {part} case with {settings.modality}, which encoder "
                    f"{settings.encoder} needs; draw another split, or label some"
                )
        recipe = {
            "encoder": settings.encoder,
            "config": preset.build(source.input_width).config,
            "preprocessing": source.preprocessing,
            "training": preset.training.as_dict(),
            "seed": settings.seed,
            "scope": str(scope),
            "target": target,
            "classes": classes,
            "rows": {
                part: {item.image_id: [labels[item.case_id], *item.digests] for item in items}
                for part, items in rows.items()
            },
            "torch": versions().get("torch", ""),
        }
        artifact = weights_artifact("encoder", recipe)
        if artifact not in snapshot.artifacts:
            self._train(source, rows, labels, classes, scope, recipe, artifact)
            snapshot = self.store.snapshot()
        tensors, entry = snapshot.weights(artifact)
        config = entry.meta["config"]
        encoder = build_encoder(
            settings.encoder,
            config=config,
            tensors=tensors,
            weights_sha256=entry.files[0].sha256,
            trained_on=scope,
            preprocessing=source.preprocessing,
            device=settings.device,
        )
        return encoder, config

    def _train(
        self,
        source: Source,
        rows: Mapping[str, Sequence[Item]],
        labels: Mapping[str, str],
        classes: Sequence[str],
        scope: FoldScope,
        recipe: Mapping[str, Any],
        artifact: str,
    ) -> None:
        from encoders.presets import trainable
        from encoders.training import train_classifier

        settings = self.settings
        preset = trainable(settings.encoder, settings.preset)
        readable = {part: self._readable(source, items, part) for part, items in rows.items()}
        targets = {
            part: np.array([classes.index(labels[item.case_id]) for item in items]) for part, items in readable.items()
        }
        what, epochs = f"training {settings.encoder} on {scope}", preset.training.epochs
        trained = train_classifier(
            preset.build(source.input_width),
            source.load(readable["train"]),
            targets["train"],
            source.load(readable["val"]),
            targets["val"],
            n_classes=len(classes),
            settings=preset.training,
            seed=settings.seed,
            progress=lambda row: self.progress(what, int(row["epoch"]) + 1, epochs),
            device=settings.device,
        )
        self.progress(what, epochs, epochs)
        self.report.trained += 1
        scope_facts = {"cohort": scope.cohort, "split": scope.split, "fold": scope.fold}
        with self.store.begin(f"{settings.encoder} trained on {scope}") as transaction:
            _, digest = transaction.write_weights(
                "encoder",
                settings.encoder,
                config=trained.config,
                tensors=trained.tensors,
                recipe=recipe,
                inputs=sorted({digest for items in readable.values() for item in items for digest in item.digests}),
                **scope_facts,
            )
            transaction.write_weights(
                "decoder",
                "linear",
                config={"name": "linear"},
                tensors=trained.decoder,
                recipe=classifier_recipe(digest, recipe["target"]),
                inputs=(artifact,),
                **scope_facts,
            )

    def _readable(self, source: Source, items: Sequence[Item], part: str) -> list[Item]:
        """The items that can be loaded; the others are quarantined when their codes are made."""
        readable, reason = [], ""
        for item in self._counted(items, f"reading {self.settings.modality} of {part}"):
            try:
                source.load([item])
                readable.append(item)
            except InvalidInputError as error:
                reason = str(error)
        if not readable:
            raise InvalidInputError(f"none of {len(items)} {part} cases could be read; the last: {reason}")
        return readable

    # Small parts -----------------------------------------------------------------------------------------------

    def _code_set(self, spec: EncoderSpec) -> CodeSetKey:
        key = CodeSetKey.of(self.settings.cohort, self.settings.modality, spec)
        self.report.code_sets.append(key)
        return key

    def _missing(self, key: CodeSetKey, items: Sequence[Item]) -> list[Item]:
        have = self.store.snapshot().artifacts
        todo = [item for item in items if code_artifact(key, item.case_id, item.image_id, item.digests) not in have]
        self.report.existing += len(items) - len(todo)
        return todo

    def _counted(self, items: Sequence[Item], what: str) -> Any:
        for done, item in enumerate(items):
            self.progress(what, done, len(items))
            yield item
        self.progress(what, len(items), len(items))

    def _quarantining(self, key: CodeSetKey, item: Item) -> _Quarantine:
        return _Quarantine(self.store, key, item, self.report, self.hidden)


def classifier_recipe(encoder_weights_sha256: str, target: str) -> dict[str, str]:
    """Recipe of D_I or D_S: the linear decoder that was trained together with an encoder."""
    return {"classifier_of": encoder_weights_sha256, "target": target}


def register_encoder(transaction: Transaction, spec: EncoderSpec, config: Mapping[str, Any]) -> None:
    """Records what an encoder digest stands for, so that prediction can build it again."""
    row = {
        "encoder": spec.name,
        "encoder_digest": spec.digest,
        "version": spec.version,
        "input_kind": spec.input_kind,
        "code_dim": spec.code_dim,
        "weights_sha256": spec.weights_sha256,
        "preprocessing": canonical_json(dict(spec.preprocessing)),
        "trained_on": str(spec.trained_on),
        "config": canonical_json(dict(config)),
    }
    transaction.write_rows("encoders", [row], recipe={"encoder_digest": spec.digest})


class _CodeBatch:
    """Collects case codes and commits them by BATCH_CODES or BATCH_SECONDS, and what is left on the way out."""

    def __init__(self, store: EmbeddingStore, key: CodeSetKey, spec: EncoderSpec, config: Mapping[str, Any]) -> None:
        self._store, self._key, self._spec, self._config = store, key, spec, config
        self._held: list[tuple[Item, np.ndarray]] = []
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def add(self, item: Item, code_d: np.ndarray) -> None:
        self._held.append((item, code_d))
        if len(self._held) >= BATCH_CODES or time.monotonic() - self._since > BATCH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            items = [item for item, _ in self._held]
            codes = CaseCodes(
                tuple(item.case_id for item in items),
                np.stack([code_d for _, code_d in self._held]).astype(np.float32),
                tuple(item.image_id for item in items),
                self._key,
            )
            with self._store.begin(f"{self._key}: {len(items)} codes") as transaction:
                register_encoder(transaction, self._spec, self._config)
                transaction.write_codes(codes, input_digests=[item.digests for item in items])
        self._held, self._since = [], time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()


@dataclass(frozen=True)
class _Quarantine:
    """Turns an InvalidInputError of one case into a quarantine row, so that the other cases go on."""

    store: EmbeddingStore
    key: CodeSetKey
    item: Item
    report: EncodeReport
    hidden: Mapping[str, str]

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, InvalidInputError):
            return False
        reason = str(error)
        for path, image_id in self.hidden.items():
            reason = reason.replace(path, f"image {image_id}")
        self.report.failed[self.item.case_id] = reason
        what = {
            "cohort": self.key.cohort,
            "case_id": self.item.case_id,
            "image_id": self.item.image_id,
            "modality": self.key.modality,
            "encoder": self.key.encoder,
            "encoder_digest": self.key.encoder_digest,
            "reason": reason,
        }
        row = {**what, "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
        with self.store.begin(f"quarantine of {self.item.case_id}") as transaction:
            transaction.write_rows("quarantine", [row], cohort=self.key.cohort, recipe=what)
        return True
