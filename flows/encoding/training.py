"""C_I and C_S in the store: an encoder of a fold is trained once, and committed with its decoders."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from guidestore.embeddings.actor import versions
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pairing import labels_of, parts_of
from guidestore.embeddings.recipe import weights_artifact
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import FoldScope
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.registry import build_encoder, preset_of
from guidestore.encoders.sources import Item, ItemView, Source, load_item
from guidestore.encoders.trainable import TrainableEncoder
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.work.ahead import read_ahead
from guidestore.flows.work.devices import in_words
from guidestore.flows.work.reporting import EncodeReport, Progress, counted

IMPLEMENTATION = "2"
"""Part of every recipe; bump it when a change of the trainer changes weights, so that stored ones are not reused."""


def classifier_recipe(encoder_weights_sha256: str, target: str) -> dict[str, str]:
    """Recipe of D_I or D_S: the linear decoder of a target that was trained together with an encoder."""
    return {"classifier_of": encoder_weights_sha256, "target": target}


@dataclass(frozen=True)
class Labelled:
    """One target: its classes in order, and case_id -> class."""

    classes: Sequence[str]
    labels: Mapping[str, str]

    def indexes(self, items: Sequence[Item]) -> np.ndarray:
        """(n,) int64 class index of each item, -1 where its case has no label."""
        known = [self.labels.get(item.case_id) for item in items]
        return np.array([-1 if name is None else self.classes.index(name) for name in known], np.int64)

    def check(self, target: str, readable: Mapping[str, Sequence[Item]], scope: FoldScope) -> None:
        """Raises InvalidInputError where a class has no train case, or no val case has a label."""
        classes = {part: {self.labels.get(item.case_id) for item in items} for part, items in readable.items()}
        absent = [name for name in self.classes if name not in classes["train"]]
        if absent:
            raise InvalidInputError(
                f"class {absent[0]} of target {target} has no train case in {scope}, so nothing can learn it; leave "
                "the target out (--target names those to train on), or draw another split"
            )
        if not classes["val"] & set(self.classes):
            raise InvalidInputError(
                f"target {target} has no labelled val case in {scope}; leave the target out (--target names those to "
                "train on), or draw another split"
            )


@dataclass(frozen=True)
class FoldTraining:
    """Trains encoders on the folds of one source, or takes them from the store where they were trained before."""

    store: EmbeddingStore
    settings: EncodeSettings
    source: Source
    targets: tuple[str, ...]
    devices: tuple[str, ...]
    """Of the encoders; it is trained on the first."""
    report: EncodeReport
    progress: Progress

    def encoders(self, scope: FoldScope) -> tuple[list[Encoder], dict[str, Any]]:
        """The encoder of one fold, on each device, and its config.

        Raises InvalidInputError where the fold cannot train it.
        """
        settings, source = self.settings, self.source
        preprocessing = source.preprocessing | settings.arithmetic.as_dict()
        snapshot = self.store.snapshot()
        parts = parts_of(snapshot, settings.cohort, scope.split, scope.fold)
        labelled = {target: Labelled(*labels_of(snapshot, settings.cohort, target)) for target in self.targets}
        module = self._module(labelled)
        rows = {
            part: [
                item
                for item in source.items
                if parts.get(item.case_id) == part
                and any(item.case_id in target.labels for target in labelled.values())
            ]
            for part in ("train", "val")
        }
        for part, items in rows.items():
            if not items:
                raise InvalidInputError(
                    f"{scope} has no labelled {part} case with {settings.modality}, which encoder "
                    f"{settings.encoder} needs; draw another split, or label some"
                )
        classes, alone = [target.classes for target in labelled.values()], len(self.targets) == 1
        recipe = {
            "encoder": settings.encoder,
            "implementation": IMPLEMENTATION,
            "config": module.config,
            "preprocessing": preprocessing,
            "training": preset_of(settings.encoder, settings.preset).training.as_dict(),
            "seed": settings.seed,
            "scope": str(scope),
            # One target stands there by itself, as it did before there were several, so that stored encoders are found.
            "target": self.targets[0] if alone else self.targets,
            "classes": classes[0] if alone else classes,
            "rows": {
                part: {
                    item.image_id: [
                        *(target.labels.get(item.case_id) for target in labelled.values()),
                        *item.digests,
                        *([item.pixels] if item.pixels else []),
                    ]
                    for item in items
                }
                for part, items in rows.items()
            },
            "torch": versions().get("torch", ""),
        }
        artifact = weights_artifact("encoder", recipe)
        if artifact not in snapshot.artifacts:
            self._train(module, rows, labelled, scope, recipe, artifact, snapshot.read_at)
            snapshot = self.store.snapshot()
        tensors, entry = snapshot.weights(artifact)
        config = entry.meta["config"]
        encoders = [
            build_encoder(
                settings.encoder,
                config=config,
                tensors=tensors,
                weights_sha256=entry.files[0].sha256,
                trained_on=scope,
                preprocessing=preprocessing,
                device=device,
            )
            for device in self.devices
        ]
        return encoders, config

    def _module(self, labelled: Mapping[str, Labelled]) -> TrainableEncoder:
        """The untrained network of the preset, with its start weights where the settings name some."""
        settings = self.settings
        first = next(iter(labelled.values()))
        module = preset_of(settings.encoder, settings.preset).build(self.source.input_width, len(first.classes))
        if settings.weights is not None:
            module.start_from(settings.weights, settings.pretrained_on)
            note = f"what the weights that {settings.encoder} starts from were trained on is unknown"
            if settings.pretrained_on == "unknown" and note not in self.report.notes:
                self.report.notes.append(note)
        return module

    def _train(
        self,
        module: TrainableEncoder,
        rows: Mapping[str, Sequence[Item]],
        labelled: Mapping[str, Labelled],
        scope: FoldScope,
        recipe: Mapping[str, Any],
        artifact: str,
        read_at: int,
    ) -> None:
        from guidestore.encoders.training import train_classifier

        settings, source = self.settings, self.source
        training = preset_of(settings.encoder, settings.preset).training
        readable = {part: self._readable(items, part) for part, items in rows.items()}
        for target, labels in labelled.items():
            labels.check(target, readable, scope)
        indexes = {
            part: {target: labels.indexes(items) for target, labels in labelled.items()}
            for part, items in readable.items()
        }
        what, epochs = f"training {settings.encoder} on {scope}", training.epochs
        scratch = self.store.storage.scratch(artifact[:32])
        trained = train_classifier(
            module,
            ItemView(source, readable["train"]),
            indexes["train"],
            ItemView(source, readable["val"]),
            indexes["val"],
            n_classes={target: len(labels.classes) for target, labels in labelled.items()},
            settings=training,
            seed=settings.seed,
            progress=lambda row: self.progress(what, int(row["epoch"]) + 1, epochs),
            device=self.devices[0],
            arithmetic=settings.arithmetic,
            checkpoint=scratch / "checkpoint.pt",
        )
        self.progress(what, epochs, epochs)
        self.report.trained += 1
        scope_facts = {"cohort": scope.cohort, "split": scope.split, "fold": scope.fold}
        message = f"{settings.encoder} trained on {scope}"
        with self.store.begin(message, device=in_words(self.devices[:1]), read_at=read_at) as transaction:
            _, digest = transaction.write_weights(
                "encoder",
                settings.encoder,
                config=trained.config,
                tensors=trained.tensors,
                recipe=recipe,
                inputs=sorted({digest for items in readable.values() for item in items for digest in item.digests}),
                **scope_facts,
            )
            for target, tensors in trained.decoders.items():
                transaction.write_weights(
                    "decoder",
                    "linear",
                    config={"name": "linear"},
                    tensors=tensors,
                    recipe=classifier_recipe(digest, target),
                    inputs=(artifact,),
                    **scope_facts,
                )
        shutil.rmtree(scratch, ignore_errors=True)

    def _readable(self, items: Sequence[Item], part: str) -> list[Item]:
        """The items that can be loaded; the others are quarantined when their codes are made."""
        readable, reason = [], ""
        what = f"reading {self.settings.modality} of {part}"
        for item, loaded in counted(
            read_ahead(partial(load_item, self.source), items), len(items), what, self.progress
        ):
            if isinstance(loaded, InvalidInputError):
                reason = str(loaded)
            else:
                readable.append(item)
        if not readable:
            raise InvalidInputError(f"none of {len(items)} {part} cases could be read; the last: {reason}")
        return readable
