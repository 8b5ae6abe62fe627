"""What an encoder digest stands for: recorded with the codes, and built again for images that are new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import IMPORTED_BAGS, IMPORTED_CODES, EncoderSpec, FoldScope
from guidestore.encoders.input_kind import input_kind
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.registry import build_encoder, build_frozen, encoder_info, name_to_build


@dataclass(frozen=True, slots=True)
class StoredEncoder:
    """An encoder as the store knows it."""

    spec: EncoderSpec
    config: Mapping[str, Any]
    """Of a network trained here."""
    digest: str
    """As recorded; that of `spec`, unless another guidestore wrote it."""

    @classmethod
    def of(cls, spec: EncoderSpec, config: Mapping[str, Any]) -> Self:
        return cls(spec, config, spec.digest)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Of a row of schema ``encoders``."""
        spec = EncoderSpec(
            row["encoder"],
            row["version"],
            row["input_kind"],
            row["code_dim"],
            row["weights_sha256"],
            json.loads(row["preprocessing"] or "{}"),
            FoldScope.parse(row["trained_on"]),
        )
        return cls(spec, json.loads(row["config"] or "{}"), row["encoder_digest"])

    def row(self) -> dict[str, Any]:
        """Of schema ``encoders``."""
        card = self.card()
        return card | {name: canonical_json(card[name]) for name in ("preprocessing", "config")}

    def card(self) -> dict[str, Any]:
        """As an exported model names it: the row, with JSON as what it says."""
        spec = self.spec
        return {
            "encoder": spec.name,
            "encoder_digest": self.digest,
            "version": spec.version,
            "input_kind": spec.input_kind,
            "code_dim": spec.code_dim,
            "weights_sha256": spec.weights_sha256,
            "preprocessing": dict(spec.preprocessing),
            "trained_on": str(spec.trained_on),
            "config": dict(self.config),
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        return cls.from_row({**card, **{name: json.dumps(card[name]) for name in ("preprocessing", "config")}})

    @property
    def is_imported(self) -> bool:
        return self.spec.input_kind in (IMPORTED_CODES, IMPORTED_BAGS)

    @property
    def is_trained(self) -> bool:
        """Here, so that the store has its weights."""
        return not self.is_imported and encoder_info(name_to_build(self.spec)).is_trained

    def in_words(self) -> str:
        """What is to be done to an image before it."""
        if self.is_imported:
            words = "none: the codes came from elsewhere and were imported"
        else:
            words = input_kind(self.spec.input_kind).in_words(self.spec.preprocessing)
        return f"{self.spec.name} ({self.spec.input_kind}): {words}"

    def trained(self, tensors: Mapping[str, np.ndarray], device: str) -> Encoder:
        """The encoder, of its own weights. Raises InvalidInputError where it cannot be made again as it was."""
        spec = self.spec
        encoder = build_encoder(
            name_to_build(spec),
            config=self.config,
            tensors=tensors,
            weights_sha256=spec.weights_sha256,
            trained_on=spec.trained_on,
            preprocessing=spec.preprocessing,
            device=device,
        )
        return self._same(encoder)

    def frozen(self, device: str, weights: Path | None) -> Encoder:
        """The encoder, without weights or with those of the file that it was made with; None: the hub.

        Raises InvalidInputError where it cannot be made again as it was, and where its codes were imported.
        """
        spec = self.spec
        if self.is_imported:
            raise InvalidInputError(
                f"the codes of {spec.name} were imported, so guidestore cannot make them from images; encode "
                "these with the tool that made those, and give --codes FILE"
            )
        drawn = spec.preprocessing.get("weights") == "random"  # not trained at all
        encoder = build_frozen(
            name_to_build(spec),
            input_kind(spec.input_kind),
            spec.preprocessing,
            weights="random" if drawn else weights if spec.weights_sha256 else None,
            trained_on=spec.trained_on,
            device=device,
        )
        if encoder.spec.weights_sha256 != spec.weights_sha256:
            raise InvalidInputError(
                f"these weights of encoder {spec.name} have sha256 {encoder.spec.weights_sha256[:12]}, stored codes "
                f"were made with {spec.weights_sha256[:12]}; give that file with --weights"
            )
        return self._same(encoder)

    def _same(self, encoder: Encoder) -> Encoder:
        if encoder.spec.digest != self.digest:
            raise InvalidInputError(
                f"encoder {self.spec.name} is version {encoder.spec.version} in this guidestore; its stored codes are "
                f"of version {self.spec.version}: another version of guidestore made them; install that one, or encode "
                "again"
            )
        return encoder


class Encoders(Protocol):
    """Where encoders come from: a store, or the folder of an exported model."""

    def stored(self, digest: str) -> StoredEncoder:
        """Raises NotFoundInStoreError."""
        ...

    def build(self, stored: StoredEncoder, device: str, weights: Path | None) -> Encoder:
        """weights: file of a pretrained one; None: the hub.

        Raises InvalidInputError where it cannot be made again as it was.
        """
        ...


class StoredEncoders:
    """Those that made the codes of a store."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def stored(self, digest: str) -> StoredEncoder:
        rows = self._snapshot.rows("encoders").to_pylist()
        row = next((row for row in rows if row["encoder_digest"] == digest), None)
        if row is None:
            raise NotFoundInStoreError(
                f"the store does not say what encoder {digest[:12]} is; encode with this store first"
            )
        return StoredEncoder.from_row(row)

    def build(self, stored: StoredEncoder, device: str, weights: Path | None) -> Encoder:
        if not stored.is_trained:
            return stored.frozen(device, weights)
        sha256 = stored.spec.weights_sha256
        entries = self._snapshot.entries(kind="weights", path=f"objects/weights/{sha256}.safetensors")
        if not entries:
            raise NotFoundInStoreError(f"the weights {sha256[:12]} of encoder {stored.spec.name} are gone")
        tensors, _ = self._snapshot.weights(entries[0].artifact)
        return stored.trained(tensors, device)
