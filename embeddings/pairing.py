"""Joins two modalities on case_id into PairedCodes for one split and fold, and refuses leakage.

Nothing is dropped in silence: whatever does not fit is counted and named in `PairedCodes.issues`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from guidestore.embeddings.errors import FoldLeakageError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.medians import filled, fills_medians, train_medians
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, Outcome, Target, TargetKind, known_of
from guidestore.embeddings.snapshot import Snapshot, fold_allows
from guidestore.embeddings.types import PARTS, CaseCodes, CodeSetKey, CodeSetName, PairedCodes, PairingIssue

ALIKE_BY_CHANCE = 8
"""Columns of both codes together, below which two patients may have the same."""


def pair(
    snapshot: Snapshot,
    *,
    cohort: str,
    target: str,
    inferior: CodeSetKey | CodeSetName | str,
    superior: CodeSetKey | CodeSetName | str,
    split: str,
    fold: int,
    kinds: Collection[TargetKind] = ONE_CLASS_KINDS,
) -> PairedCodes:
    """The training set of one split and fold.

    `inferior`, `superior`: code sets of case codes; as text, ``MODALITY/ENCODER[@DIGEST]`` of the cohort. kinds: those
    of targets that the caller can learn. Cases come sorted by id. Raises FoldLeakageError where an encoder was trained
    on another fold, NotFoundInStoreError on an unknown target, split or fold, InvalidInputError where a case stands in
    two parts of the fold, or the target is of another kind.
    """

    def key_of(code_set: CodeSetKey | CodeSetName | str) -> CodeSetKey:
        name = CodeSetName.parse(code_set, cohort) if isinstance(code_set, str) else code_set
        return snapshot.code_set(name, split=split, fold=fold) if isinstance(name, CodeSetName) else name

    inferior_key, superior_key = key_of(inferior), key_of(superior)
    for key in (inferior_key, superior_key):
        if key.cohort != cohort:
            raise InvalidInputError(f"code set {key} is of another cohort than {cohort}; pair code sets of one cohort")
        if key.kind != "codes":
            raise InvalidInputError(f"code set {key} holds bags; pool them into case codes first (`guidestore encode`)")
        if not fold_allows(key.trained_on, cohort, split, fold):
            raise FoldLeakageError(
                f"code set {key} comes from an encoder trained on {key.trained_on} and must not feed heads of "
                f"{cohort}/{split}/{fold}: it may have seen test cases; encode this fold, or choose another encoder"
            )
    parts = parts_of(snapshot, cohort, split, fold)
    learnt, outcomes = outcomes_of(snapshot, cohort, target, kinds)
    sides, notes = [], []
    for side, key in (("inferior", inferior_key), ("superior", superior_key)):
        codes = snapshot.codes(key)
        missing = np.isnan(codes.codes_nd)
        if missing.any() and fills_medians(snapshot, key):
            cases = {codes.case_ids[row] for row in np.flatnonzero(missing.any(axis=1))}
            columns = int(missing.any(axis=0).sum())
            what = f"lack a value in {columns} {side} columns, filled in with the median of the train cases"
            notes += _named(f"filled {side}", what, cases)
            codes = filled(codes, train_medians(codes, parts))
        sides.append(codes)
    paired = join(
        *sides,
        parts=parts,
        outcomes=outcomes,
        target=learnt,
        cohort=cohort,
        split=split,
        fold=fold,
        snapshot=snapshot.version,
    )
    return replace(paired, issues=(*paired.issues, *notes))


def parts_of(snapshot: Snapshot, cohort: str, split: str, fold: int) -> dict[str, str]:
    """case_id -> part of one fold. Raises NotFoundInStoreError, InvalidInputError (a case in two parts)."""
    table = snapshot.rows("splits", cohort=cohort)
    chosen = table.filter((pc.field("split") == split) & (pc.field("fold") == fold))
    if not chosen.num_rows:
        known = sorted({f"{s}/{f}" for s, f in zip(*table.select(["split", "fold"]).to_pydict().values(), strict=True)})
        raise NotFoundInStoreError(
            f"cohort {cohort} has no fold {fold} of split {split!r}; it has {', '.join(known[:20]) or 'no splits'}"
        )
    parts: dict[str, str] = {}
    for case_id, part in zip(chosen["case_id"].to_pylist(), chosen["part"].to_pylist(), strict=True):
        if not part:
            continue  # the fold does not assign the case
        if parts.setdefault(case_id, part) != part:
            raise InvalidInputError(
                f"case {case_id} stands in {parts[case_id]} and in {part} of {cohort}/{split}/{fold}; give it one part"
            )
    return parts


def targets_of(snapshot: Snapshot, cohort: str) -> dict[str, Target]:
    """The cohort's targets by name, sorted. Raises InvalidInputError on one of two kinds, units or class orders."""
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in snapshot.rows("targets", cohort=cohort).to_pylist():
        by_name[row["target"]].append(row)
    return {name: _target(cohort, name, by_name[name]) for name in sorted(by_name)}


def _target(cohort: str, name: str, rows: list[dict[str, Any]]) -> Target:
    where = f"target {name} of cohort {cohort}"
    said: set[tuple[Any, str]] = {(row["kind"] or "classes", row["unit"] or "") for row in rows}
    if len(said) > 1:
        listed = " and ".join(" in ".join(filter(None, of)) for of in sorted(said))
        raise InvalidInputError(
            f"{where} is said to be {listed}; keep one, or take it out with `guidestore cohort remove`"
        )
    ((kind, unit),) = said
    ordered = sorted({(row["class_index"], row["class"]) for row in rows if row["class"]})
    if [index for index, _ in ordered] != list(range(len(ordered))):
        listed = ", ".join(f"{index} {name}" for index, name in ordered)
        raise InvalidInputError(f"{where} has several class orders ({listed}); keep one")
    return Target(name, kind, tuple(name for _, name in ordered), unit)


def class_targets(snapshot: Snapshot, cohort: str) -> list[str]:
    """The cohort's targets that have one class per case, sorted."""
    rows = snapshot.rows("targets", cohort=cohort).to_pylist()
    return sorted({row["target"] for row in rows if (row["kind"] or "classes") in ONE_CLASS_KINDS})


def labels_of(snapshot: Snapshot, cohort: str, target: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes of a target in their fixed order, and case_id -> class. Raises as `outcomes_of`."""
    of, outcomes = outcomes_of(snapshot, cohort, target, ONE_CLASS_KINDS)
    return of.names, {case_id: str(name) for case_id, name in outcomes.items()}


def outcomes_of(
    snapshot: Snapshot, cohort: str, target: str, kinds: Collection[TargetKind]
) -> tuple[Target, dict[str, Outcome]]:
    """A target, and case_id -> its outcome, of the cases that have one.

    kinds: those that the caller can use. Raises NotFoundInStoreError, InvalidInputError on a target of another kind, or
    on a case with two outcomes.
    """
    of_cohort = snapshot.rows("targets", cohort=cohort).to_pylist()
    rows = [row for row in of_cohort if row["target"] == target]
    if not rows:
        known = ", ".join(sorted({row["target"] for row in of_cohort})) or "none"
        raise NotFoundInStoreError(f"cohort {cohort} has no target {target!r}; it has {known}")
    strange = [kind for row in rows if (kind := row["kind"] or "classes") not in kinds]
    if strange:
        usable = (
            ", ".join(sorted({row["target"] for row in of_cohort if (row["kind"] or "classes") in kinds})) or "none"
        )
        wanted = "classes" if tuple(kinds) == ONE_CLASS_KINDS else f"kind {' or '.join(kinds)}"
        raise InvalidInputError(
            f"target {target} of cohort {cohort} is of kind {strange[0]}, which cannot be used here; targets with "
            f"{wanted}: {usable}"
        )
    of = _target(cohort, target, rows)
    outcomes: dict[str, Outcome] = {}
    several: dict[str, dict[str, bool]] = defaultdict(dict)
    labels = snapshot.rows("labels", cohort=cohort)
    for row in labels.filter(pc.field("target") == target).to_pylist():
        if (outcome := _outcome(of, row)) is None:
            continue
        case_id = row["case_id"]
        if isinstance(outcome, dict):
            (name,) = outcome
            before, said, its = several[case_id].setdefault(name, outcome[name]), outcome[name], f" ({name})"
        else:
            before, said, its = outcomes.setdefault(case_id, outcome), outcome, ""
        if before != said:
            raise InvalidInputError(
                f"case {case_id} of cohort {cohort} has two labels of target {target}{its}, {before} and {said}, "
                "and neither supersedes the other; correct the labels table"
            )
    return of, {**outcomes, **several}


def _outcome(target: Target, row: Mapping[str, Any]) -> Outcome | None:
    """What a row of kind labels says; None where it says nothing."""
    if target.has_classes:
        return row["class"] or None
    if target.kind == "survival":
        return None if row["time"] is None or row["event"] is None else (row["time"], row["event"])
    if row["value"] is None:
        return None
    if target.kind == "multilabel":
        return {row["class"]: row["value"] == 1} if row["class"] else None
    return row["value"]


def join(
    inferior: CaseCodes,
    superior: CaseCodes,
    *,
    parts: Mapping[str, str],
    outcomes: Mapping[str, Outcome],
    target: Target,
    cohort: str,
    split: str,
    fold: int,
    snapshot: int = 0,
) -> PairedCodes:
    """The join itself, over plain values. Rows: every case of `parts` that has a code of either modality.

    outcomes: case_id -> its outcome of `target`; a case without one is a row all the same.
    """
    issues: list[PairingIssue] = []
    sides = {}
    for name, codes in (("inferior", inferior), ("superior", superior)):
        sides[name], unusable = _usable(codes, name)
        issues += unusable
    coded = set(sides["inferior"]) | set(sides["superior"])
    case_ids = tuple(sorted(coded & set(parts)))
    has = {name: np.array([case in side for case in case_ids], dtype=bool) for name, side in sides.items()}
    y = target.y_of(outcomes, case_ids)
    has_inferior, has_superior = has["inferior"], has["superior"]
    issues += _issue("without superior", "have an inferior code only", case_ids, has_inferior & ~has_superior)
    issues += _issue("without inferior", "have a superior code only", case_ids, has_superior & ~has_inferior)
    issues += _issue("without label", f"have no label of target {target.name}", case_ids, ~known_of(y))
    issues += _named("without code", "are in the split but have no usable code", set(parts) - coded)
    issues += _named("not in split", f"have codes but no part in {split}/{fold}", coded - set(parts))
    issues += _named("label without code", f"have a label of {target.name} but no usable code", set(outcomes) - coded)
    both = (_matrix(inferior, sides["inferior"], case_ids), _matrix(superior, sides["superior"], case_ids))
    part_of = np.array([parts[case] for case in case_ids], dtype=f"<U{max(map(len, PARTS))}")
    issues += _issue(
        "copies across parts",
        f"of val and test of {split}/{fold} have the very codes of a train case, so every row looks better than it is; "
        "take the copies out, or draw a split that keeps them together (`guidestore cohort split --group`)",
        case_ids,
        _copies_of_train(*both, part_of),
    )
    return PairedCodes(
        cohort=cohort,
        split=split,
        fold=fold,
        target=target.name,
        classes=target.names,
        case_ids=case_ids,
        inferior_nd=both[0],
        superior_nd=both[1],
        has_inferior=has_inferior,
        has_superior=has_superior,
        labels=y if target.has_classes else np.full(len(case_ids), -1, dtype=np.int64),
        outcomes=None if target.has_classes else y,
        kind=target.kind,
        unit=target.unit,
        parts=part_of,
        inferior_key=inferior.key,
        superior_key=superior.key,
        snapshot=snapshot,
        issues=tuple(issues),
    )


def _usable(codes: CaseCodes, side: str) -> tuple[dict[str, int], list[PairingIssue]]:
    """case_id -> row of the codes that can be used, and what cannot."""
    counts = Counter(codes.case_ids)
    images: dict[str, list[str]] = defaultdict(list)
    for case_id, image_id in zip(codes.case_ids, codes.image_ids, strict=True):
        images[case_id].append(image_id)
    twice = {case_id for case_id, count in counts.items() if count > 1}
    finite = np.isfinite(codes.codes_nd).all(axis=1)
    broken = {case_id for case_id, good in zip(codes.case_ids, finite, strict=True) if not good} - twice
    example = sorted(twice)[0] if twice else ""
    issues = _named(
        f"duplicate {side}",
        f"have several {side} codes (such as {example}: {', '.join(images[example][:3])}), so none of them is used; "
        "keep one image per case or pool them",
        twice,
    ) + _named(f"NaN {side}", f"have a {side} code with NaN or infinity, which is not used", broken)
    usable = {case_id: row for row, case_id in enumerate(codes.case_ids) if case_id not in twice | broken}
    return usable, issues


def _matrix(codes: CaseCodes, rows: dict[str, int], case_ids: tuple[str, ...]) -> np.ndarray:
    matrix_nd = np.full((len(case_ids), codes.codes_nd.shape[1]), np.nan, dtype=np.float32)
    present = [i for i, case_id in enumerate(case_ids) if case_id in rows]
    matrix_nd[present] = codes.codes_nd[[rows[case_ids[i]] for i in present]]
    return matrix_nd


def _copies_of_train(inferior_nd: np.ndarray, superior_nd: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(n,) bool: which cases of val and test have both codes of a train case, bit for bit. Codes of a few columns, such
    as age and sex, may well be alike, and are not looked at."""
    if inferior_nd.shape[1] + superior_nd.shape[1] < ALIKE_BY_CHANCE:
        return np.zeros(len(parts), dtype=bool)
    codes = [hash((i.tobytes(), s.tobytes())) for i, s in zip(inferior_nd, superior_nd, strict=True)]
    train = {code for code, part in zip(codes, parts, strict=True) if part == "train"}
    return np.array([code in train for code in codes], dtype=bool) & (parts != "train")


def _issue(kind: str, what: str, case_ids: tuple[str, ...], mask: np.ndarray) -> list[PairingIssue]:
    return _named(kind, what, {case_ids[i] for i in np.flatnonzero(mask)})


def _named(kind: str, what: str, cases: Iterable[str]) -> list[PairingIssue]:
    ordered = tuple(sorted(cases))
    if not ordered:
        return []
    shown = ", ".join(ordered[:3]) + (", …" if len(ordered) > 3 else "")
    return [PairingIssue(kind, f"{len(ordered)} cases {what}: {shown}", ordered)]
