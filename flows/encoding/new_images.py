"""Codes of new images: each brought to what the encoder takes, and encoded, with a store or without."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import Bag, CodeSetKey, FoldScope
from guidestore.flows.encoding.images import GROUPS, sequence_of


class Encoders(Protocol):
    """Where encoders come from: a store, or the folder of an exported model."""

    def facts(self, digest: str) -> dict[str, Any]:
        """The row of schema ``encoders``. Raises NotFoundInStoreError."""
        ...

    def build(self, facts: Mapping[str, Any], device: str, weights: Path | None) -> Any:
        """The encoders.protocol.Encoder of a row. weights: file of a pretrained one; None: the hub.

        Raises InvalidInputError where it cannot be made again as it was.
        """
        ...


class StoredEncoders:
    """Those that made the codes of a store."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def facts(self, digest: str) -> dict[str, Any]:
        rows = self._snapshot.rows("encoders").to_pylist()
        found = next((row for row in rows if row["encoder_digest"] == digest), None)
        if found is None:
            raise NotFoundInStoreError(
                f"the store does not say what encoder {digest[:12]} is; encode with this store first"
            )
        return found

    def build(self, facts: Mapping[str, Any], device: str, weights: Path | None) -> Any:
        from guidestore.encoders.registry import TRAINED

        if facts["encoder"] not in TRAINED:
            return frozen_encoder(facts, device, weights)
        path = f"objects/weights/{facts['weights_sha256']}.safetensors"
        found = self._snapshot.entries(kind="weights", path=path)
        if not found:
            raise NotFoundInStoreError(
                f"the weights {facts['weights_sha256'][:12]} of encoder {facts['encoder']} are gone"
            )
        tensors, _ = self._snapshot.weights(found[0].artifact)
        return trained_encoder(facts, tensors, device)


def trained_encoder(facts: Mapping[str, Any], tensors: Mapping[str, np.ndarray], device: str) -> Any:
    """One that was trained here, of an encoders row and its weights."""
    from guidestore.encoders.registry import build_encoder

    encoder = build_encoder(
        facts["encoder"],
        config=json.loads(facts["config"]),
        tensors=tensors,
        weights_sha256=facts["weights_sha256"],
        trained_on=FoldScope.parse(facts["trained_on"]),
        preprocessing=json.loads(facts["preprocessing"]),
        device=device,
    )
    return _same(encoder, facts)


def frozen_encoder(facts: Mapping[str, Any], device: str, weights: Path | None) -> Any:
    """One without weights, or with the weights of the file that it was made with, of an encoders row."""
    from guidestore.encoders.registry import build_encoder

    preprocessing = json.loads(facts["preprocessing"])
    params: dict[str, Any] = {}
    if facts["weights_sha256"]:
        params = {"weights": weights, "device": device, "trained_on": FoldScope.parse(facts["trained_on"])}
    if facts["input_kind"] == "photographs":
        params["preprocessing"] = preprocessing
        if facts["weights_sha256"]:
            params["input_kind"] = "photographs"
    elif facts["input_kind"] == "volumes":
        params |= {"channels": len(preprocessing["sequences"]), "preprocessing": preprocessing}
    else:
        params["preprocessing"] = _tiling(facts).as_dict()
    encoder = build_encoder(facts["encoder"], **params)
    if encoder.spec.weights_sha256 != facts["weights_sha256"]:
        raise InvalidInputError(
            f"these weights of encoder {facts['encoder']} have sha256 {encoder.spec.weights_sha256[:12]}, stored codes "
            f"were made with {facts['weights_sha256'][:12]}; give that file with --weights"
        )
    return _same(encoder, facts)


def _same(encoder: Any, facts: Mapping[str, Any]) -> Any:
    if encoder.spec.digest != facts["encoder_digest"]:
        raise InvalidInputError(
            f"encoder {facts['encoder']} is version {encoder.spec.version} in this guidestore; its stored codes are "
            f"of version {facts['version']}: another version of guidestore made them; install that one, or encode again"
        )
    return encoder


def encode_images(
    encoders: Encoders, key: CodeSetKey, files: Sequence[Path], mpp: float | None, **loading: Any
) -> tuple[list[str], np.ndarray]:
    """Case ids and codes (n, d) of the images of new cases, as `key` has them.

    mpp: of slides that do not say it. loading: device and weights, as `Encoders.build` takes them. Raises
    InvalidInputError where files are of another modality, and where the codes of `key` were imported.
    """
    facts = encoders.facts(key.encoder_digest)
    if facts["input_kind"] == "codes":
        raise InvalidInputError(
            f"the codes of {key} were imported, so guidestore cannot make them from images; give --codes FILE"
        )
    encoder = encoders.build(facts, **loading)
    if facts["input_kind"] == "volumes":
        from guidestore.encoders.volumes import VolumeSettings, load_volume

        settings = VolumeSettings(**json.loads(facts["preprocessing"]))
        cases = _volume_cases(files, key.modality)
        volumes = np.stack([load_volume(paths, settings) for paths in cases.values()])
        # One by one, as materialize does: the codes then equal the stored ones bit for bit.
        return list(cases), np.concatenate([encoder.encode(volume[None]) for volume in volumes])
    if facts["input_kind"] == "bags":
        patch_facts = encoders.facts(json.loads(facts["preprocessing"])["patch_encoder_digest"])
        patch_encoder = encoders.build(patch_facts, **loading)
        bags = {_slide_case(file): _bag(patch_encoder, patch_facts, file, mpp) for file in files}
        return list(bags), np.concatenate([encoder.encode([bag]) for bag in bags.values()])
    if facts["input_kind"] == "photographs":
        from guidestore.encoders.photographs import PhotographSettings, load_photograph

        settings = PhotographSettings(**_own_fields(facts, PhotographSettings().as_dict()))
        photographs = {file.stem: load_photograph(file, settings) for file in files}
        return list(photographs), np.concatenate([encoder.encode(one[None]) for one in photographs.values()])
    raise InvalidInputError(f"code set {key} is made of {facts['input_kind']}, which cannot be predicted from yet")


def _bag(patch_encoder: Any, facts: Mapping[str, Any], file: Path, mpp: float | None) -> Bag:
    from guidestore.encoders.slides.encode import encode_slide

    return encode_slide(file, patch_encoder, _tiling(facts), mpp)


def _tiling(facts: Mapping[str, Any]) -> Any:
    """The TilingSettings among an encoder's preprocessing."""
    from guidestore.encoders.slides.tiling import TilingSettings

    return TilingSettings(**_own_fields(facts, TilingSettings().as_dict()))


def _own_fields(facts: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of an encoder's preprocessing; a frozen network's own facts stand beside them."""
    preprocessing = json.loads(facts["preprocessing"])
    return {name: preprocessing[name] for name in names}


def _volume_cases(files: Sequence[Path], modality: str) -> dict[str, dict[str, Path]]:
    """case id -> sequence -> file. Files of a case share what stands before ``_<sequence>.nii.gz``."""
    from guidestore.encoders.volumes import sequence_files

    sequences = [sequence_of(part) for part in GROUPS.get(modality, (modality,))]
    cases: dict[str, dict[str, Path]] = {}
    for file in files:
        if not file.exists():
            raise InvalidInputError(f"there is no file {file}")
        if not file.is_dir() and not file.name.endswith((".nii", ".nii.gz")):
            raise InvalidInputError(
                f"{file} is no NIfTI volume, and the run predicts from {modality}: give its files "
                f"({', '.join(f'ID_{name}.nii.gz' for name in sequences)}) or a folder with them"
            )
        found = sequence_files(file if file.is_dir() else [file])
        for sequence, path in found.items():
            case_id = path.name.removesuffix(".gz").removesuffix(".nii").removesuffix(f"_{sequence}")
            if sequence in sequences:
                cases.setdefault(case_id, {})[sequence] = path
            elif not file.is_dir():
                raise InvalidInputError(f"{file} is a {sequence} volume, and the run predicts from {modality}")
    for case_id, paths in cases.items():
        missing = [name for name in sequences if name not in paths]
        if missing:
            raise InvalidInputError(f"case {case_id} lacks {', '.join(missing)}; the run predicts from {modality}")
    if not cases:
        raise InvalidInputError(f"no sequence of {modality} in {', '.join(map(str, files))}")
    return cases


def _slide_case(file: Path) -> str:
    if not file.is_file():
        raise InvalidInputError(f"there is no slide {file}")
    if file.name.endswith((".nii", ".nii.gz")):
        raise InvalidInputError(f"{file} is a volume, and the run predicts from slides")
    return file.stem
