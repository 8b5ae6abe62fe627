"""Draws splits: stratified by class, seeded, and the same whatever order the cases come in."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import check_name
from guidestore.embeddings.words import count_of

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Split:
    """What is drawn. Raises InvalidInputError."""

    name: str
    folds: int
    seed: int
    val_fraction: float = 0.15
    """The share of a fold's other labelled cases that watches training."""

    def __post_init__(self) -> None:
        check_name(self.name, "split")
        if self.folds < 2 or not 0 < self.val_fraction < 1:
            raise InvalidInputError(f"split {self.name}: draw at least 2 folds, and a val_fraction between 0 and 1")
        if not 0 <= self.seed < 2**32:  # as scikit-learn takes it
            raise InvalidInputError(f"split {self.name}: seed {self.seed} is no integer from 0 to 2**32 - 1")


def draw_splits(
    case_ids: Iterable[str],
    labels: Mapping[str, str],
    split: Split,
    *,
    groups: Mapping[str, str] | None = None,
    grouped_by: str = "",
    by: str = "",
) -> Rows:
    """Rows of kind splits: stratified folds, so that every labelled case is in test exactly once.

    Cases without a label go to train in every fold. `groups`: case_id -> its group, a patient, all of whose cases are
    in one part of a fold, those without a label too; `grouped_by` names them. by: what the labels are where they are
    no classes, as the rows say it. Raises InvalidInputError where a class has too few cases or groups.
    """
    from sklearn.model_selection import StratifiedKFold

    ids, classes, unlabelled = _sorted(case_ids, labels, split.name)
    if groups is not None:
        return _draw_grouped(
            ids, classes, unlabelled, grouped([*ids, *unlabelled], groups, grouped_by, split), split, grouped_by, by
        )
    counts = Counter(classes)
    rare = [label for label, count in sorted(counts.items()) if count < split.folds]
    if rare:
        raise InvalidInputError(
            f"split {split.name}: class {rare[0]} has {count_of(counts[rare[0]], 'case')}, too few for {split.folds} "
            "folds; draw fewer folds or merge classes"
        )
    rows = []
    folded = StratifiedKFold(split.folds, shuffle=True, random_state=split.seed).split(ids, classes)
    for fold, (rest, test) in enumerate(folded):
        train, val = _divide(rest, classes, split.val_fraction, split.seed + fold, split.name)
        parts = {"train": train, "val": val, "test": test}
        part_of = {ids[row]: part for part, rows in parts.items() for row in rows} | dict.fromkeys(unlabelled, "train")
        rows += rows_of(split, fold, part_of, by, len(ids))
    return rows


def grouped(case_ids: Iterable[str], groups: Mapping[str, str], grouped_by: str, split: Split) -> dict[str, str]:
    """case_id -> its group. Raises InvalidInputError where one has none."""
    without = [case_id for case_id in case_ids if not groups.get(case_id)]
    if without:
        raise InvalidInputError(
            f"split {split.name}: {count_of(len(without), 'case')} without {grouped_by} (such as {without[0]}); give "
            "each case its group"
        )
    return {case_id: groups[case_id] for case_id in case_ids}


def _draw_grouped(
    ids: list[str],
    classes: list[str],
    unlabelled: list[str],
    groups: Mapping[str, str],
    split: Split,
    grouped_by: str,
    by: str,
) -> Rows:
    """As `draw_splits`, whole groups at a time."""
    from sklearn.model_selection import StratifiedGroupKFold

    of_class: dict[str, set[str]] = {}
    for case_id, label in zip(ids, classes, strict=True):
        of_class.setdefault(label, set()).add(groups[case_id])
    for label, its_groups in sorted(of_class.items()):
        if len(its_groups) < split.folds + 1:
            raise InvalidInputError(
                f"split {split.name}: class {label} has {count_of(len(its_groups), 'group')} of {grouped_by}, too few "
                f"for {split.folds} folds and a val part; draw fewer folds or merge classes"
            )
    of_case = [groups[case_id] for case_id in ids]
    by = f"{by} grouped by {grouped_by} ({count_of(len(set(of_case)), 'group')})"
    rows = []
    try:
        for fold, (rest, test) in enumerate(
            StratifiedGroupKFold(split.folds, shuffle=True, random_state=split.seed).split(ids, classes, of_case)
        ):
            # Of few groups, or few cases of each class, val is a larger share.
            most = min(len({of_case[i] for i in rest}), max(Counter(classes[i] for i in rest).values()))
            parts_of_rest = max(2, min(round(1 / split.val_fraction), most))
            inner = StratifiedGroupKFold(parts_of_rest, shuffle=True, random_state=split.seed + fold)
            with warnings.catch_warnings():  # a class with fewer cases than inner folds is in some of them
                warnings.simplefilter("ignore", UserWarning)
                train, val = next(inner.split(rest, [classes[i] for i in rest], [of_case[i] for i in rest]))
            parts = {"train": rest[train], "val": rest[val], "test": test}
            part_of = {of_case[i]: part for part, members in parts.items() for i in members}
            of_all = {case_id: part_of.get(groups[case_id], "train") for case_id in (*ids, *unlabelled)}
            rows += rows_of(split, fold, of_all, by, len(ids))
    except ValueError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InvalidInputError(f"split {split.name}: {reason}; draw fewer folds or merge classes") from error
    return rows


def rows_of(split: Split, fold: int, part_of: Mapping[str, str], by: str, labelled: int) -> Rows:
    """Rows of kind splits of a drawn fold. by: what it is stratified and grouped by; labelled: its labelled cases."""
    method = f"stratified {split.folds} folds{by}, val fraction {split.val_fraction} of the rest"
    origin = _origin(method, split.seed, labelled)
    return _rows(split.name, fold, part_of, origin)


def draw_fixed_splits(
    case_ids: Iterable[str],
    labels: Mapping[str, str],
    *,
    name: str,
    sizes: tuple[int, int, int],
    folds: Sequence[int],
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of kind splits: an independent stratified draw for each of the `folds`, fold k from the seed `seed` + k.

    `sizes`: labelled cases in train, val and test; RadPath's own are 165, 28, 28, five times. Cases without a label go
    to train besides. Raises InvalidInputError where the sizes do not add up to the labelled cases, or a class has too
    few.
    """
    ids, classes, unlabelled = _sorted(case_ids, labels, name)
    if sum(sizes) != len(ids) or min(sizes) < 1:
        raise InvalidInputError(
            f"split {name}: sizes {sizes[0]} + {sizes[1]} + {sizes[2]} are {sum(sizes)}, but {len(ids)} cases have a "
            "label; give sizes that add up, each at least 1"
        )
    rows = []
    for fold in folds:
        origin = _origin(f"stratified draw of {sizes[0]}/{sizes[1]}/{sizes[2]}", f"{seed} + fold {fold}", len(ids))
        rest, test = _divide(range(len(ids)), classes, sizes[2], seed + fold, name)
        train, val = _divide(rest, classes, sizes[1], seed + fold, name)
        parts = {"train": train, "val": val, "test": test}
        part_of = {ids[row]: part for part, rows in parts.items() for row in rows} | dict.fromkeys(unlabelled, "train")
        rows += _rows(name, fold, part_of, origin)
    return rows


def keep_standing(rows: Iterable[Mapping[str, Any]], standing: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`rows` with the folds that stand in the store (`standing`) as they are there, whatever a draw would give today.

    Both are rows of kind splits of one cohort, with `split` and `fold`. A drawn fold that stands is not drawn again:
    a label that was corrected since, or a newer scikit-learn, would change it under the codes that were trained on it.
    Cases that it does not have go to train. Raises InvalidInputError where a fold was drawn with another seed, or was
    drawn before and is given by a file now.
    """
    stands: dict[tuple[str, int], dict[str, Mapping[str, Any]]] = {}
    for row in standing:
        stands.setdefault((row["split"], row["fold"]), {})[row["case_id"]] = row
    kept = []
    for row in rows:
        fold = stands.get((row["split"], row["fold"]), {})
        origin = next((old["origin"] for old in fold.values()), "")
        drawn, was_drawn = row["origin"].startswith("drawn"), origin.startswith("drawn")
        place = f"fold {row['fold']} of split {row['split']}"
        if was_drawn and not drawn:
            raise InvalidInputError(
                f"{place} was drawn when the cohort was added and is given by a file now; add the cohort under another "
                "name to use the file"
            )
        if not drawn or not fold:
            kept.append(dict(row))
        elif was_drawn and _seed_of(origin) != _seed_of(row["origin"]):
            raise InvalidInputError(
                f"{place} stands in the store with seed {_seed_of(origin)}, so it cannot be drawn with seed "
                f"{_seed_of(row['origin'])}; give the same seed, or draw a split of another name"
            )
        elif was_drawn and row["case_id"] not in fold:
            kept.append({**row, "part": "train", "origin": f"{origin}; this case came later"})
    return kept


def _seed_of(origin: str) -> str:
    return origin.partition(", seed ")[2].partition(",")[0]


def _sorted(case_ids: Iterable[str], labels: Mapping[str, str], name: str) -> tuple[list[str], list[str], list[str]]:
    check_name(name, "split")
    everyone = sorted(set(case_ids))
    ids = [case_id for case_id in everyone if labels.get(case_id)]
    if not ids:
        raise InvalidInputError(f"split {name}: no case has a label to stratify by; name another target")
    return ids, [labels[case_id] for case_id in ids], [case_id for case_id in everyone if not labels.get(case_id)]


def _divide(rows: Any, classes: list[str], size: float | int, seed: int, name: str) -> tuple[list[int], list[int]]:
    """`rows` in two, by class; the second of `size` (a number of cases, or a share)."""
    from sklearn.model_selection import train_test_split

    rows = list(rows)
    try:
        first, second = train_test_split(
            rows, test_size=size, random_state=seed, shuffle=True, stratify=[classes[row] for row in rows]
        )
    except ValueError as error:
        raise InvalidInputError(
            f"split {name}: of {count_of(len(rows), 'case')} of {count_of(len(set(classes)), 'class')}, {size:g} "
            "cannot be set apart by class; choose another size (--val), draw fewer folds, or merge classes"
        ) from error
    return list(first), list(second)


def _rows(name: str, fold: int, part_of: Mapping[str, str], origin: str) -> Rows:
    return [
        {"split": name, "fold": fold, "case_id": case_id, "part": part, "origin": origin}
        for case_id, part in sorted(part_of.items())
    ]


def _origin(method: str, seed: int | str, labelled: int) -> str:
    import sklearn

    return f"drawn: {method}, seed {seed}, {count_of(labelled, 'labelled case')}, scikit-learn {sklearn.__version__}"
