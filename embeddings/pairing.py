"""Joins two modalities on case_id into PairedCodes for one split and fold, and refuses leakage.

Nothing is dropped in silence: whatever does not fit is counted and named in `PairedCodes.issues`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from guidestore.embeddings.errors import FoldLeakageError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.medians import filled, fills_medians, train_medians
from guidestore.embeddings.rows import ONE_CLASS_KINDS
from guidestore.embeddings.snapshot import Snapshot, fold_allows
from guidestore.embeddings.types import PARTS, CaseCodes, CodeSetKey, CodeSetName, PairedCodes, PairingIssue


def pair(
    snapshot: Snapshot,
    *,
    cohort: str,
    target: str,
    inferior: CodeSetKey | CodeSetName | str,
    superior: CodeSetKey | CodeSetName | str,
    split: str,
    fold: int,
) -> PairedCodes:
    """The training set of one split and fold.

    `inferior`, `superior`: code sets of case codes; as text, ``MODALITY/ENCODER[@DIGEST]`` of the cohort. Cases come
    sorted by id. Raises FoldLeakageError where an encoder was trained on another fold, NotFoundInStoreError on an
    unknown target, split or fold, InvalidInputError where a case stands in two parts of the fold.
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
    classes, labels = labels_of(snapshot, cohort, target)
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
        labels=labels,
        classes=classes,
        cohort=cohort,
        split=split,
        fold=fold,
        target=target,
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


def class_targets(snapshot: Snapshot, cohort: str) -> list[str]:
    """The cohort's targets that have one class per case, sorted."""
    rows = snapshot.rows("targets", cohort=cohort).to_pylist()
    return sorted({row["target"] for row in rows if (row["kind"] or "classes") in ONE_CLASS_KINDS})


def labels_of(snapshot: Snapshot, cohort: str, target: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes of a target in their fixed order, and case_id -> class.

    Raises NotFoundInStoreError, InvalidInputError on a target without one class per case, or on a case with two labels.
    """
    table = snapshot.rows("targets", cohort=cohort).to_pylist()
    of_target = [row for row in table if row["target"] == target]
    if not of_target:
        known = ", ".join(sorted({row["target"] for row in table})) or "none"
        raise NotFoundInStoreError(f"cohort {cohort} has no target {target!r}; it has {known}")
    others = sorted({row["kind"] for row in of_target if row["kind"]} - set(ONE_CLASS_KINDS))
    if others:
        usable = ", ".join(class_targets(snapshot, cohort)) or "none"
        raise InvalidInputError(
            f"target {target} of cohort {cohort} is of kind {others[0]}, which heads do not learn yet; targets with "
            f"classes: {usable}"
        )
    ordered = sorted({(row["class_index"], row["class"]) for row in of_target})
    if [index for index, _ in ordered] != list(range(len(ordered))):
        listed = ", ".join(f"{index} {name}" for index, name in ordered)
        raise InvalidInputError(f"target {target} of cohort {cohort} has several class orders ({listed}); keep one")
    labels: dict[str, str] = {}
    for row in snapshot.rows("labels", cohort=cohort).to_pylist():
        if row["target"] != target or not row["class"]:
            continue
        case_id, name = row["case_id"], row["class"]
        if labels.setdefault(case_id, name) != name:
            raise InvalidInputError(
                f"case {case_id} of cohort {cohort} has two labels of target {target}, {labels[case_id]} and {name}, "
                "and neither supersedes the other; correct the labels table"
            )
    return tuple(name for _, name in ordered), labels


def join(
    inferior: CaseCodes,
    superior: CaseCodes,
    *,
    parts: dict[str, str],
    labels: dict[str, str],
    classes: tuple[str, ...],
    cohort: str,
    split: str,
    fold: int,
    target: str,
    snapshot: int = 0,
) -> PairedCodes:
    """The join itself, over plain values. Rows: every case of `parts` that has a code of either modality."""
    issues: list[PairingIssue] = []
    sides = {}
    for name, codes in (("inferior", inferior), ("superior", superior)):
        sides[name], unusable = _usable(codes, name)
        issues += unusable
    index = {name: i for i, name in enumerate(classes)}
    coded = set(sides["inferior"]) | set(sides["superior"])
    case_ids = tuple(sorted(coded & set(parts)))
    unknown_classes = sorted(case for case in case_ids if case in labels and labels[case] not in index)
    if unknown_classes:
        case = unknown_classes[0]
        raise InvalidInputError(
            f"case {case} has the label {labels[case]!r}, which is no class of target {target} "
            f"({', '.join(classes)}); correct the labels table"
        )

    has = {name: np.array([case in side for case in case_ids], dtype=bool) for name, side in sides.items()}
    label_index = np.array([index[labels[case]] if case in labels else -1 for case in case_ids], dtype=np.int64)
    has_inferior, has_superior = has["inferior"], has["superior"]
    issues += _issue("without superior", "have an inferior code only", case_ids, has_inferior & ~has_superior)
    issues += _issue("without inferior", "have a superior code only", case_ids, has_superior & ~has_inferior)
    issues += _issue("without label", f"have no label of target {target}", case_ids, label_index < 0)
    issues += _named("without code", "are in the split but have no usable code", set(parts) - coded)
    issues += _named("not in split", f"have codes but no part in {split}/{fold}", coded - set(parts))
    issues += _named("label without code", f"have a label of {target} but no usable code", set(labels) - coded)
    return PairedCodes(
        cohort=cohort,
        split=split,
        fold=fold,
        target=target,
        classes=classes,
        case_ids=case_ids,
        inferior_nd=_matrix(inferior, sides["inferior"], case_ids),
        superior_nd=_matrix(superior, sides["superior"], case_ids),
        has_inferior=has_inferior,
        has_superior=has_superior,
        labels=label_index,
        parts=np.array([parts[case] for case in case_ids], dtype=f"<U{max(map(len, PARTS))}"),
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


def _issue(kind: str, what: str, case_ids: tuple[str, ...], mask: np.ndarray) -> list[PairingIssue]:
    return _named(kind, what, {case_ids[i] for i in np.flatnonzero(mask)})


def _named(kind: str, what: str, cases: Iterable[str]) -> list[PairingIssue]:
    ordered = tuple(sorted(cases))
    if not ordered:
        return []
    shown = ", ".join(ordered[:3]) + (", …" if len(ordered) > 3 else "")
    return [PairingIssue(kind, f"{len(ordered)} cases {what}: {shown}", ordered)]
