"""F(x_I) = D_c([G(E_I(x)), E_I(x)]): class probabilities of new cases from inferior images, or their codes, alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.errors import InvalidInputError, NotFoundInStoreError
from embeddings.records import Entry
from embeddings.snapshot import Snapshot
from embeddings.store import EmbeddingStore
from embeddings.types import Bag, CaseCodes, CodeSetKey, FoldScope
from flows.images import GROUPS, sequence_of
from flows.threads import check_device, one_thread

SUPERIOR_ROWS = ("S", "S+I")
"""These rows need the superior image, which a new case does not have."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Class probabilities of n cases: probabilities_nk float64, rows sum to 1, columns in the order of `classes`."""

    run: str
    classes: tuple[str, ...]
    case_ids: tuple[str, ...]
    probabilities_nk: np.ndarray

    def as_rows(self) -> list[dict[str, Any]]:
        return [
            {
                "case_id": case_id,
                "predicted": self.classes[int(row.argmax())],
                **{f"p({name})": float(value) for name, value in zip(self.classes, row, strict=True)},
            }
            for case_id, row in zip(self.case_ids, self.probabilities_nk, strict=True)
        ]


def predict(
    root: Path | str,
    run: str,
    *,
    files: Sequence[Path] = (),
    codes: CaseCodes | None = None,
    cases: Sequence[str] = (),
    encoder: str = "",
    mpp: float | None = None,
    device: str = "cpu",
    weights: Path | None = None,
) -> Prediction:
    """Predicts with the stored weights of `run` (an alias, or 8 digits or more of its id).

    Exactly one source: `files`, inferior images of new cases (NIfTI files or case folders for MRI, slides for
    slides); `codes`, made by the run's inferior encoder (`codes.key`, or `encoder` as NAME or NAME@DIGEST, says so);
    `cases`, ids whose inferior codes the store has. `weights`: file of a pretrained encoder, which the store does not
    keep; None: the hub. Raises InvalidInputError on another modality or encoder, or a run whose row needs the superior
    image.
    """
    if sum(map(bool, (files, codes is not None, cases))) != 1:
        raise InvalidInputError("give one source to predict from: image files, a file of codes, or stored case ids")
    check_device(device)
    store = EmbeddingStore.open(root)
    entry = store.find_run(run)
    snapshot = store.snapshot()
    facts = _run_row(snapshot, entry)
    if facts["row"] in SUPERIOR_ROWS:
        raise InvalidInputError(
            f"run {entry.artifact[:12]} is of row {facts['row']}, which needs the superior image; choose a run of row "
            "G(I)+I, G(I) or I"
        )
    key = snapshot.code_set(facts["inferior"])
    if cases:
        case_ids, z_inferior_nd = _stored_codes(snapshot, key, cases)
    elif codes is not None:
        case_ids, z_inferior_nd = codes.case_ids, _given_codes(codes, key, encoder)
    else:
        with one_thread():
            case_ids, z_inferior_nd = _encoded(
                snapshot, key, [Path(file) for file in files], mpp, device=device, weights=weights
            )

    from heads.input_rows import predict_row

    components = {}
    for role, artifact in json.loads(facts["weights"]).items():
        tensors, kept = snapshot.weights(artifact)
        components[role] = (kept.meta["config"], tensors)
    classes = tuple(json.loads(facts["settings"])["classes"])
    probabilities_nk = predict_row(facts["row"], components, z_inferior_nd)
    return Prediction(entry.artifact, classes, tuple(case_ids), probabilities_nk)


def _run_row(snapshot: Snapshot, entry: Entry) -> dict[str, Any]:
    from embeddings.tables import read_table

    (file,) = [file for file in entry.files if file.path.startswith("objects/rows/runs/")]
    rows = read_table(snapshot.storage, file).to_pylist()
    return next(row for row in rows if row["run"] == entry.artifact)


def _stored_codes(snapshot: Snapshot, key: CodeSetKey, cases: Sequence[str]) -> tuple[Sequence[str], np.ndarray]:
    codes = snapshot.codes(key)
    row_of = {case_id: row for row, case_id in enumerate(codes.case_ids)}
    unknown = [case_id for case_id in cases if case_id not in row_of]
    if unknown:
        raise NotFoundInStoreError(f'code set {key} has no code of case {unknown[0]}; `guidestore sql "FROM codes"`')
    return cases, codes.codes_nd[[row_of[case_id] for case_id in cases]]


def _given_codes(codes: CaseCodes, key: CodeSetKey, encoder: str) -> np.ndarray:
    """The codes, once it is sure that the run's encoder made them."""
    if codes.key is not None and codes.key.encoder_digest != key.encoder_digest:
        raise InvalidInputError(
            f"these codes are of {codes.key}, the run was trained on {key}; encode with that encoder"
        )
    if codes.key is None:
        name, _, digest = encoder.partition("@")
        if not name:
            raise InvalidInputError(
                f"say which encoder made the codes: --encoder {key.encoder}@{key.encoder_digest[:12]}"
            )
        if name != key.encoder or not key.encoder_digest.startswith(digest):
            raise InvalidInputError(
                f"the codes are of encoder {encoder}, the run was trained on {key.encoder}@{key.encoder_digest[:12]}; "
                "encode with that encoder"
            )
    if codes.codes_nd.shape[1] != key.code_dim:
        raise InvalidInputError(f"the codes have {codes.codes_nd.shape[1]} dimensions, those of {key} {key.code_dim}")
    return codes.codes_nd


# Pixels ------------------------------------------------------------------------------------------------------------


def _encoded(
    snapshot: Snapshot, key: CodeSetKey, files: Sequence[Path], mpp: float | None, **loading: Any
) -> tuple[list[str], np.ndarray]:
    """Case ids and codes of new images, through the run's own inferior encoder."""
    row = _encoder_row(snapshot, key.encoder_digest)
    if row["input_kind"] == "codes":
        raise InvalidInputError(
            f"the codes of {key} were imported, so guidestore cannot make them from images; give --codes FILE"
        )
    encoder = _rebuilt(snapshot, row, **loading)
    if row["input_kind"] == "volumes":
        from encoders.volumes import VolumeSettings, load_volume

        settings = VolumeSettings(**json.loads(row["preprocessing"]))
        cases = _volume_cases(files, key.modality)
        volumes = np.stack([load_volume(paths, settings) for paths in cases.values()])
        # One by one, as materialize does: the codes then equal the stored ones bit for bit.
        return list(cases), np.concatenate([encoder.encode(volume[None]) for volume in volumes])
    if row["input_kind"] == "bags":
        preprocessing = json.loads(row["preprocessing"])
        patch_row = _encoder_row(snapshot, preprocessing["patch_encoder_digest"])
        bags = {_slide_case(file): _bag(snapshot, patch_row, file, mpp, **loading) for file in files}
        return list(bags), np.concatenate([encoder.encode([bag]) for bag in bags.values()])
    if row["input_kind"] == "photographs":
        from encoders.photographs import PhotographSettings, load_photograph

        facts = PhotographSettings(**_own_fields(row, PhotographSettings().as_dict()))
        photographs = {file.stem: load_photograph(file, facts) for file in files}
        return list(photographs), np.concatenate([encoder.encode(one[None]) for one in photographs.values()])
    raise InvalidInputError(f"code set {key} is made of {row['input_kind']}, which cannot be predicted from yet")


def _bag(snapshot: Snapshot, row: Mapping[str, Any], file: Path, mpp: float | None, **loading: Any) -> Bag:
    from encoders.slides.encode import encode_slide

    return encode_slide(file, _rebuilt(snapshot, row, **loading), _tiling(row), mpp)


def _tiling(row: Mapping[str, Any]) -> Any:
    """The TilingSettings among an encoder's preprocessing."""
    from encoders.slides.tiling import TilingSettings

    return TilingSettings(**_own_fields(row, TilingSettings().as_dict()))


def _own_fields(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of an encoder's preprocessing; a frozen network's own facts stand beside them."""
    preprocessing = json.loads(row["preprocessing"])
    return {name: preprocessing[name] for name in names}


def _encoder_row(snapshot: Snapshot, digest: str) -> dict[str, Any]:
    rows = snapshot.rows("encoders").to_pylist()
    found = next((row for row in rows if row["encoder_digest"] == digest), None)
    if found is None:
        raise NotFoundInStoreError(
            f"the store does not say what encoder {digest[:12]} is; encode with this store first"
        )
    return found


def _rebuilt(snapshot: Snapshot, row: Mapping[str, Any], device: str, weights: Path | None) -> Any:
    """The encoder of an encoders row, with its stored weights, or those of the file that it was made with."""
    from encoders.registry import TRAINED, build_encoder

    name, preprocessing = row["encoder"], json.loads(row["preprocessing"])
    if name in TRAINED:
        found = snapshot.entries(kind="weights", path=f"objects/weights/{row['weights_sha256']}.safetensors")
        if not found:
            raise NotFoundInStoreError(f"the weights {row['weights_sha256'][:12]} of encoder {name} are gone")
        tensors, _ = snapshot.weights(found[0].artifact)
        encoder = build_encoder(
            name,
            config=json.loads(row["config"]),
            tensors=tensors,
            weights_sha256=row["weights_sha256"],
            trained_on=FoldScope.parse(row["trained_on"]),
            preprocessing=preprocessing,
            device=device,
        )
    else:
        params: dict[str, Any] = {}
        if row["weights_sha256"]:
            params = {"weights": weights, "device": device, "trained_on": FoldScope.parse(row["trained_on"])}
        if row["input_kind"] == "photographs":
            params["preprocessing"] = preprocessing
            if row["weights_sha256"]:
                params["input_kind"] = "photographs"
        elif row["input_kind"] == "volumes":
            params |= {"channels": len(preprocessing["sequences"]), "preprocessing": preprocessing}
        else:
            params["preprocessing"] = _tiling(row).as_dict()
        encoder = build_encoder(name, **params)
        if encoder.spec.weights_sha256 != row["weights_sha256"]:
            raise InvalidInputError(
                f"these weights of encoder {name} have sha256 {encoder.spec.weights_sha256[:12]}, stored codes "
                f"were made with {row['weights_sha256'][:12]}; give that file with --weights"
            )
    if encoder.spec.digest != row["encoder_digest"]:
        raise InvalidInputError(
            f"encoder {name} is version {encoder.spec.version} in this guidestore; its stored codes are "
            f"of version {row['version']}: another version of guidestore made them; install that one, or encode again"
        )
    return encoder


def _volume_cases(files: Sequence[Path], modality: str) -> dict[str, dict[str, Path]]:
    """case id -> sequence -> file. Files of a case share what stands before ``_<sequence>.nii.gz``."""
    from encoders.volumes import sequence_files

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
