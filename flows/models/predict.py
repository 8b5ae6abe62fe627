"""F(x_I) = D_c([G(E_I(x)), E_I(x)]): class probabilities of new cases from inferior images, or their codes, alone."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.interchange.codes import CodeColumns, CodesRead, read_codes
from guidestore.embeddings.medians import fills_medians, train_medians
from guidestore.embeddings.outcomes import TargetKind
from guidestore.embeddings.pairing import parts_of
from guidestore.embeddings.runs import REFERENCE_FACTS, Run, median_grade
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, CodeSetName
from guidestore.flows.encoding.corrected import corrected_in
from guidestore.flows.encoding.new_images import encode_images
from guidestore.flows.encoding.stored_encoders import Encoders, StoredEncoders
from guidestore.flows.work.devices import AUTO, one_device
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.flows.work.threads import one_thread
from guidestore.heads.conformal import Conformal, conformal_of
from guidestore.heads.metrics.survival import times_up_to
from guidestore.warehouse.runs import run_of

type InMemory = Callable[[CodeColumns], CodesRead]
"""Codes of a table or an array (guidestore.embeddings.interchange.codes.codes_of), read as they are told to be."""

_SUGGEST_AMONG = 10_000
"""Cases among which the nearest name is looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What is said of n cases: of classes and grades probabilities_nk float64, whose rows sum to 1, columns in the
    order of `classes`; of other kinds as heads.metrics.metric has it."""

    run: str
    classes: tuple[str, ...]
    case_ids: tuple[str, ...] = field(repr=False)
    probabilities_nk: np.ndarray = field(repr=False)
    kind: TargetKind = "classes"
    unit: str = ""
    """Of a value, or of a survival time."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """Of the run: how wide the interval of a value is, and the horizon of survival."""
    notes: tuple[str, ...] = ()

    def as_rows(self) -> list[dict[str, Any]]:
        """A row per case. A value has the interval that holds 90 % of new ones; survival the risk, larger is worse, and
        the share that outlives each time up to the horizon."""
        return [
            {"case_id": case_id, **self._said(row)}
            for case_id, row in zip(self.case_ids, self.probabilities_nk, strict=True)
        ]

    def _said(self, row: np.ndarray) -> dict[str, Any]:
        if self.kind == "value":
            (value,), of = (float(said) for said in row), f" ({self.unit})" if self.unit else ""
            interval = conformal_of(self.facts)
            ends = (None, None) if interval is None else (value - interval.half_width, value + interval.half_width)
            level = f"{(interval or Conformal(0.0)).level:.0%}"
            return {f"value{of}": value, f"low, {level}": ends[0], f"high, {level}": ends[1]}
        if self.kind == "survival":
            risk, *lives = (float(said) for said in row)
            times = times_up_to(self.facts.get(REFERENCE_FACTS["survival"], math.nan))[: len(lives)]
            of = f" {self.unit}" if self.unit else ""
            return {"risk": risk} | {
                f"survives {time:.6g}{of}": share for time, share in zip(times, lives, strict=True)
            }
        shares = {f"p({name})": float(value) for name, value in zip(self.classes, row, strict=True)}
        if self.kind == "multilabel":
            return shares
        place = median_grade(row[None])[0] if self.kind == "ordinal" else row.argmax()
        return {"predicted": self.classes[int(place)]} | shares


def predict(
    store: EmbeddingStore,
    run: str,
    *,
    files: Sequence[Path] = (),
    codes: CaseCodes | Path | InMemory | None = None,
    cases: Sequence[str] = (),
    encoder: str = "",
    mpp: float | None = None,
    trust_geometry: bool = False,
    device: str = AUTO,
    weights: Path | None = None,
    progress: Progress = no_progress,
) -> Prediction:
    """Predicts with the stored weights of `run` (an alias, or 8 digits or more of its id).

    Exactly one source: `files`, inferior images of new cases (NIfTI files or case folders for MRI, slides for slides);
    `codes`, or a file or table of them, made by the run's inferior encoder (`codes.key`, or `encoder` as NAME or
    NAME@DIGEST, says so); `cases`, ids whose inferior codes the store has. `weights`: file of a pretrained encoder,
    which the store does not keep; None: the hub. Raises InvalidInputError on another modality or encoder, or a run
    whose row needs the superior image.
    """
    if sum(map(bool, (files, codes is not None, cases))) != 1:
        raise InvalidInputError("give one source to predict from: image files, a file of codes, or stored case ids")
    from guidestore.heads.input_rows import input_row
    from guidestore.heads.prediction import predict_row

    if files or device != AUTO:  # codes need none, and torch takes seconds to load
        device = one_device(device, "encoders")
    snapshot = store.snapshot()
    trained = run_of(snapshot, store.find_run(run))
    if input_row(trained.row).needs_superior:
        raise InvalidInputError(
            f"run {trained.id[:12]} is of row {trained.row}, which needs the superior image; choose a run of row "
            "G(I)+I, G(I) or I"
        )
    key = inferior_key(snapshot, trained)
    notes = corrected_in(snapshot, [trained])
    if cases:
        case_ids, z_inferior_nd = _stored_codes(snapshot, key, cases)
        notes += _known_to(snapshot, trained, cases)
    elif codes is not None:
        case_ids, z_inferior_nd = given_codes(codes, key, encoder, StoredEncoders(snapshot))
    else:
        with one_thread():
            case_ids, z_inferior_nd = encode_images(
                StoredEncoders(snapshot),
                key,
                files,
                mpp,
                device=device,
                weights=weights,
                trust_geometry=trust_geometry,
                progress=progress,
            )

    if np.isnan(z_inferior_nd).any() and fills_medians(snapshot, key):
        z_inferior_nd = np.where(np.isnan(z_inferior_nd), medians_of(store, trained, key), z_inferior_nd)
    components = {}
    for role, artifact in trained.weights.items():
        tensors, kept = snapshot.weights(artifact)
        components[role] = (kept.meta["config"], tensors)
    outputs_nk = predict_row(trained.row, components, z_inferior_nd, horizon=trained.reference)
    kind = (trained.kind, trained.target_unit, trained.training)
    return Prediction(trained.id, trained.classes, tuple(case_ids), outputs_nk, *kind, tuple(notes))


def medians_of(store: EmbeddingStore, run: Run, key: CodeSetKey) -> np.ndarray:
    """(d,) float32 that the run was trained with where `key` had NaN. Raises InvalidInputError."""
    trained_at = store.snapshot(run.snapshot)
    return train_medians(trained_at.codes(key), parts_of(trained_at, run.cohort, run.split, run.fold))


def inferior_key(snapshot: Snapshot, run: Run) -> CodeSetKey:
    """The code set of z_I of a run. Raises NotFoundInStoreError where it has none, or it is gone."""
    if run.inferior is None:
        raise NotFoundInStoreError(f"run {run.id[:12]} names no inferior code set; choose another run")
    return snapshot.code_set(run.inferior)


def _known_to(snapshot: Snapshot, run: Run, cases: Sequence[str]) -> tuple[str, ...]:
    """Which of the cases the run was trained on, or stopped by, in a sentence."""
    try:
        parts = parts_of(snapshot, run.cohort, run.split, run.fold)
    except NotFoundInStoreError:  # the split is gone
        return ()
    known = [case for case in cases if parts.get(case) in ("train", "val")]
    if not known:
        return ()
    return (
        f"{len(known)} of {len(cases)} cases stood in train or val of {run.split}/{run.fold}, by which this run was "
        f"made; what it says of them is too sure: {', '.join(known[:3])}{', …' * (len(known) > 3)}",
    )


def _stored_codes(snapshot: Snapshot, key: CodeSetKey, cases: Sequence[str]) -> tuple[Sequence[str], np.ndarray]:
    codes = snapshot.codes(key)
    row_of = {case_id: row for row, case_id in enumerate(codes.case_ids)}
    unknown = [case_id for case_id in cases if case_id not in row_of]
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(row_of)[:_SUGGEST_AMONG], n=1)
        hint = f"did you mean {near[0]}?" if near else '`guidestore sql "FROM codes"` lists them'
        raise NotFoundInStoreError(f"code set {key} has no code of case {unknown[0]}; {hint}")
    return cases, codes.codes_nd[[row_of[case_id] for case_id in cases]]


def given_codes(
    codes: CaseCodes | Path | InMemory, key: CodeSetKey, encoder: str, encoders: Encoders
) -> tuple[tuple[str, ...], np.ndarray]:
    """Case ids and codes (n, d) that are given, once it is sure that the run's encoder made them.

    Of a table, the columns that the stored codes were imported from, in their order. Raises InvalidInputError.
    """
    made_by = codes.key if isinstance(codes, CaseCodes) else None
    if made_by is not None and made_by.encoder_digest != key.encoder_digest:
        raise InvalidInputError(f"these codes are of {made_by}, the run was trained on {key}; encode with that encoder")
    if made_by is None:
        if not encoder:
            raise InvalidInputError(f"say which encoder made the codes: --encoder {key.name.encoder_text}")
        if not CodeSetName.parse(f"{key.modality}/{encoder}", key.cohort).means(key.name):
            raise InvalidInputError(
                f"the codes are of encoder {encoder}, the run was trained on {key.name.encoder_text}; "
                "encode with that encoder"
            )
    if not isinstance(codes, CaseCodes):
        codes = _read(codes, encoders.stored(key.encoder_digest).spec.preprocessing)
    if codes.codes_nd.shape[1] != key.code_dim:
        raise InvalidInputError(f"the codes have {codes.codes_nd.shape[1]} dimensions, those of {key} {key.code_dim}")
    return codes.case_ids, codes.codes_nd


def _read(given: Path | InMemory, preprocessing: Mapping[str, Any]) -> CaseCodes:
    """The codes as those of the store were read: of the columns with these names, where they have names."""
    columns = tuple(preprocessing.get("columns", ()))
    how = CodeColumns(taken=columns, nan=preprocessing.get("nan", "refuse"))
    file, read = (given, read_codes(given, how=how)) if isinstance(given, Path) else ("codes", given(how))
    if not columns or not read.is_named or read.columns == columns:
        return read.codes
    place = {name: d for d, name in enumerate(read.columns)}
    lacking = [name for name in columns if name not in place]
    if lacking:
        raise InvalidInputError(f"{file}, column {lacking[0]} has no value; the run was trained on it")
    codes_nd = np.ascontiguousarray(read.codes.codes_nd[:, [place[name] for name in columns]])
    return CaseCodes(read.codes.case_ids, codes_nd)
