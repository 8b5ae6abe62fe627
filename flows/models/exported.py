"""An exported model's folder, opened: it predicts without the store that it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import CorruptArtifactError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec, FoldScope
from guidestore.encoders.input_kind import input_kind
from guidestore.encoders.protocol import Encoder
from guidestore.flows.encoding.new_images import encode_images
from guidestore.flows.encoding.stored_encoders import StoredEncoder
from guidestore.flows.models.card import NAME, Card, read_card
from guidestore.flows.models.predict import Prediction, given_codes
from guidestore.flows.work.devices import AUTO, one_device
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.flows.work.threads import one_thread
from guidestore.heads.outcomes import can_be_said, n_outputs

HEAD, ENCODER = "head.onnx", "encoder.onnx"


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A folder that `guidestore export-model` wrote. Made by `open`."""

    folder: Path
    card: Card
    files: Mapping[str, bytes]
    """The other files whose bytes predict, verified."""

    @classmethod
    def open(cls, folder: Path | str) -> ExportedModel:
        """Reads the folder and compares every file that the card names with its sha256.

        Raises InvalidInputError where it is no such folder or of a newer format, CorruptArtifactError where a file is
        missing or another.
        """
        folder = Path(folder)
        card = read_card(folder)
        files: dict[str, bytes] = {}
        for name, file in card.files.items():
            path = folder / name
            content = path.read_bytes() if path.is_file() else None
            if content is None or hashlib.sha256(content).hexdigest() != file.sha256:
                state = "missing" if content is None else "not the file that was exported"
                raise CorruptArtifactError(f"{path} is {state}; copy the folder again, or export the model again")
            if name in (HEAD, ENCODER):
                files[name] = content
        if HEAD not in files:
            raise InvalidInputError(f"{folder / NAME} names no {HEAD}, which predicts; export the model again")
        return cls(folder, card, files)

    @property
    def key(self) -> CodeSetKey:
        """The code set of z_I, of the store that the model came from."""
        inferior = self.card.inferior
        return CodeSetKey(
            self.card.cohort,
            inferior.modality,
            inferior.encoder,
            inferior.encoder_digest,
            FoldScope.parse(inferior.trained_on),
            "codes",
            inferior.code_dim,
        )

    def predict(
        self,
        *,
        files: Sequence[Path] = (),
        codes: CaseCodes | Path | None = None,
        encoder: str = "",
        mpp: float | None = None,
        trust_geometry: bool = False,
        device: str = AUTO,
        weights: Path | None = None,
        progress: Progress = no_progress,
    ) -> Prediction:
        """As flows.models.predict.predict, from `files` or `codes`.

        Networks of the folder run on the CPU; device and weights are those of a pretrained encoder, which it names
        alone. Raises InvalidInputError.
        """
        if bool(files) == (codes is not None):
            raise InvalidInputError("give one source to predict from: image files, or a file of codes")
        if files or device != AUTO:  # codes need none, and torch takes seconds to load
            device = one_device(device, "encoders")
        if codes is not None:
            case_ids, z_inferior_nd = given_codes(codes, self.key, encoder, _FolderEncoders(self))
        else:
            with one_thread():
                new_cases, z_inferior_nd = encode_images(
                    _FolderEncoders(self),
                    self.key,
                    files,
                    mpp,
                    device=device,
                    weights=weights,
                    trust_geometry=trust_geometry,
                    progress=progress,
                )
            case_ids = tuple(new_cases)
        if self.card.medians is not None:
            medians_d = np.array(self.card.medians, np.float32)
            z_inferior_nd = np.where(np.isnan(z_inferior_nd), medians_d, z_inferior_nd)
        if not np.isfinite(z_inferior_nd).all():
            raise InvalidInputError("codes are not finite; leave out the cases that lack the modality")
        of = (self.card.kind, self.card.unit, self.card.facts)
        return Prediction(self.card.run, tuple(self.card.classes), case_ids, self.probabilities(z_inferior_nd), *of)

    def probabilities(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        """(n, d_I) z_I -> (n, k) float64, by head.onnx: probabilities, a value or a risk. Raises InvalidInputError
        where it gives none."""
        given_nk = run_onnx(self.files[HEAD], z_inferior_nd.astype(np.float32, copy=False), f"{self.folder / HEAD}")
        kind = self.card.kind
        wanted = (len(z_inferior_nd), n_outputs(kind, len(self.card.classes)))
        if given_nk.shape != wanted or given_nk.dtype.kind != "f":
            raise InvalidInputError(
                f"{self.folder / HEAD} gives {given_nk.dtype} of shape {given_nk.shape}, and not {wanted[1]} numbers "
                f"for each case; export the model again"
            )
        if not can_be_said(given_nk, kind):
            raise InvalidInputError(
                f"{self.folder / HEAD} gives numbers that are no probabilities; export the model again"
            )
        return given_nk


class _FolderEncoders:
    """flows.encoding.stored_encoders.Encoders of an exported model: its own network, and the encoders that it names."""

    def __init__(self, model: ExportedModel) -> None:
        self._model = model

    def stored(self, digest: str) -> StoredEncoder:
        for card in self._model.card.encoders:
            if card.get("encoder_digest") == digest:
                try:
                    return StoredEncoder.from_card(card)
                except (KeyError, TypeError, ValueError) as error:
                    raise InvalidInputError(
                        f"{self._model.folder / NAME} describes encoder {digest[:12]} wrongly ({error}); export the "
                        "model again"
                    ) from error
        raise NotFoundInStoreError(f"{self._model.folder} does not say what encoder {digest[:12]} is; export it again")

    def build(self, stored: StoredEncoder, device: str, weights: Path | None) -> Encoder:
        if ENCODER in self._model.files and stored.digest == self._model.key.encoder_digest:
            return _OnnxEncoder(self._model.files[ENCODER], stored.spec, f"{self._model.folder / ENCODER}")
        return stored.frozen(device, weights)


class _OnnxEncoder:
    """An encoders.protocol.Encoder by encoder.onnx."""

    def __init__(self, content: bytes, spec: EncoderSpec, file: str) -> None:
        self._content, self.spec, self._file = content, spec, file

    def encode(self, batch: Any, /) -> np.ndarray:
        pixels = input_kind(self.spec.input_kind).pixels_of(batch)
        return np.concatenate([run_onnx(self._content, array, self._file) for array in pixels])


_EXTERNAL = b"\x0a\x08location"
"""How a tensor whose values lie in another file says which, in ONNX's protobuf."""


def run_onnx(content: bytes, array: np.ndarray, file: str) -> np.ndarray:
    """The only output of a model for its only input; `file` names it in messages.

    Raises InvalidInputError without onnxruntime, and for a model that reads other files or cannot be run.
    """
    try:
        from onnxruntime import InferenceSession, SessionOptions  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        raise InvalidInputError("running ONNX needs the package onnxruntime; install guidestore[export]") from error
    if _EXTERNAL in content:
        raise InvalidInputError(f"{file} reads weights from other files, which nothing vouches for; export it again")
    options = SessionOptions()
    options.intra_op_num_threads = 1  # a result does not depend on the machine's cores
    options.log_severity_level = 3
    try:
        session = InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        (result,) = session.run(None, {given.name: array})
    except Exception as error:  # onnxruntime's own are of no common class
        said = " ".join(str(error).split())[:200]
        raise InvalidInputError(f"{file} cannot be run ({said}); export the model again") from error
    return np.asarray(result)
