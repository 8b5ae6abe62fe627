"""C_I and C_S in the store: an encoder of a fold is trained once, and committed with its decoder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embeddings.errors import InvalidInputError
from embeddings.pairing import labels_of, parts_of
from embeddings.recipe import weights_artifact
from embeddings.store import EmbeddingStore, versions
from embeddings.types import FoldScope
from encoders.presets import trainable
from encoders.protocol import Encoder
from encoders.registry import build_encoder
from flows.ahead import read_ahead
from flows.reporting import EncodeReport, Progress, counted
from flows.settings import EncodeSettings
from flows.sources import Item, ItemView, Source

IMPLEMENTATION = "2"
"""Part of every recipe; bump it when a change of the trainer changes weights, so that stored ones are not reused."""


def classifier_recipe(encoder_weights_sha256: str, target: str) -> dict[str, str]:
    """Recipe of D_I or D_S: the linear decoder that was trained together with an encoder."""
    return {"classifier_of": encoder_weights_sha256, "target": target}


@dataclass(frozen=True)
class FoldTraining:
    """Trains encoders on the folds of one source, or takes them from the store where they were trained before."""

    store: EmbeddingStore
    settings: EncodeSettings
    source: Source
    target: str
    report: EncodeReport
    progress: Progress

    def encoder(self, scope: FoldScope) -> tuple[Encoder, dict[str, Any]]:
        """The encoder of one fold, and its config. Raises InvalidInputError where the fold cannot train it."""
        settings, source = self.settings, self.source
        snapshot = self.store.snapshot()
        parts = parts_of(snapshot, settings.cohort, scope.split, scope.fold)
        classes, labels = labels_of(snapshot, settings.cohort, self.target)
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
            "implementation": IMPLEMENTATION,
            "config": preset.build(source.input_width, len(classes)).config,
            "preprocessing": source.preprocessing,
            "training": preset.training.as_dict(),
            "seed": settings.seed,
            "scope": str(scope),
            "target": self.target,
            "classes": classes,
            "rows": {
                part: {item.image_id: [labels[item.case_id], *item.digests] for item in items}
                for part, items in rows.items()
            },
            "torch": versions().get("torch", ""),
        }
        artifact = weights_artifact("encoder", recipe)
        if artifact not in snapshot.artifacts:
            self._train(rows, labels, classes, scope, recipe, artifact)
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
        rows: Mapping[str, Sequence[Item]],
        labels: Mapping[str, str],
        classes: Sequence[str],
        scope: FoldScope,
        recipe: Mapping[str, Any],
        artifact: str,
    ) -> None:
        from encoders.training import train_classifier

        settings, source = self.settings, self.source
        preset = trainable(settings.encoder, settings.preset)
        readable = {part: self._readable(items, part) for part, items in rows.items()}
        targets = {
            part: np.array([classes.index(labels[item.case_id]) for item in items]) for part, items in readable.items()
        }
        what, epochs = f"training {settings.encoder} on {scope}", preset.training.epochs
        scratch = self.store.storage.scratch(artifact[:32])
        trained = train_classifier(
            preset.build(source.input_width, len(classes)),
            ItemView(source, readable["train"]),
            targets["train"],
            ItemView(source, readable["val"]),
            targets["val"],
            n_classes=len(classes),
            settings=preset.training,
            seed=settings.seed,
            progress=lambda row: self.progress(what, int(row["epoch"]) + 1, epochs),
            device=settings.device,
            checkpoint=scratch / "checkpoint.pt",
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
                recipe=classifier_recipe(digest, self.target),
                inputs=(artifact,),
                **scope_facts,
            )
        shutil.rmtree(scratch, ignore_errors=True)

    def _readable(self, items: Sequence[Item], part: str) -> list[Item]:
        """The items that can be loaded; the others are quarantined when their codes are made."""
        readable, reason = [], ""
        what = f"reading {self.settings.modality} of {part}"
        for item, loaded in counted(read_ahead(self.source.load, items), len(items), what, self.progress):
            if isinstance(loaded, InvalidInputError):
                reason = str(loaded)
            else:
                readable.append(item)
        if not readable:
            raise InvalidInputError(f"none of {len(items)} {part} cases could be read; the last: {reason}")
        return readable
