"""Draws splits: stratified by class, seeded, and the same whatever order the cases come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from embeddings.errors import InvalidInputError
from embeddings.types import check_name


def draw_splits(
    case_ids: Iterable[str],
    labels: Mapping[str, str],
    *,
    name: str,
    folds: int,
    seed: int,
    val_fraction: float = 0.15,
) -> list[dict[str, Any]]:
    """Rows of kind splits: `folds` stratified folds, so that every labelled case is in test exactly once.

    `val_fraction`: the share of a fold's other labelled cases that watches training. Cases without a label go to train
    in every fold. Raises InvalidInputError where a class has too few cases.
    """
    from sklearn.model_selection import StratifiedKFold

    ids, classes, unlabelled = _sorted(case_ids, labels, name)
    if folds < 2 or not 0 < val_fraction < 1:
        raise InvalidInputError(f"split {name}: draw at least 2 folds, and a val_fraction between 0 and 1")
    counts = Counter(classes)
    rare = [label for label, count in sorted(counts.items()) if count < folds]
    if rare:
        raise InvalidInputError(
            f"split {name}: class {rare[0]} has {counts[rare[0]]} cases, too few for {folds} folds; draw fewer folds "
            "or merge classes"
        )
    origin = _origin(f"stratified {folds} folds, val fraction {val_fraction} of the rest", seed, len(ids))
    rows = []
    folded = StratifiedKFold(folds, shuffle=True, random_state=seed).split(ids, classes)
    for fold, (rest, test) in enumerate(folded):
        train, val = _divide(rest, classes, val_fraction, seed + fold, name)
        rows += _rows(name, fold, ids, unlabelled, {"train": train, "val": val, "test": test}, origin)
    return rows


def draw_fixed_splits(
    case_ids: Iterable[str],
    labels: Mapping[str, str],
    *,
    name: str,
    sizes: tuple[int, int, int],
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of kind splits: `draws` independent stratified draws, one per fold.

    `sizes`: labelled cases in train, val and test; RadPath's own are 165, 28, 28, five times. Cases without a label go
    to train besides. Raises InvalidInputError where the sizes do not add up to the labelled cases, or a class has too
    few.
    """
    ids, classes, unlabelled = _sorted(case_ids, labels, name)
    if sum(sizes) != len(ids) or min(sizes) < 1 or draws < 1:
        raise InvalidInputError(
            f"split {name}: sizes {sizes[0]} + {sizes[1]} + {sizes[2]} are {sum(sizes)}, but {len(ids)} cases have a "
            "label; give sizes that add up, each at least 1"
        )
    origin = _origin(f"stratified draw of {sizes[0]}/{sizes[1]}/{sizes[2]}", seed, len(ids))
    rows = []
    for fold in range(draws):
        rest, test = _divide(range(len(ids)), classes, sizes[2], seed + fold, name)
        train, val = _divide(rest, classes, sizes[1], seed + fold, name)
        rows += _rows(name, fold, ids, unlabelled, {"train": train, "val": val, "test": test}, origin)
    return rows


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
            f"split {name}: {str(error).splitlines()[0].rstrip('.')}; choose other sizes or merge classes"
        ) from error
    return list(first), list(second)


def _rows(
    name: str, fold: int, ids: list[str], unlabelled: list[str], parts: Mapping[str, Any], origin: str
) -> list[dict[str, Any]]:
    part_of = {ids[row]: part for part, rows in parts.items() for row in rows} | dict.fromkeys(unlabelled, "train")
    return [
        {"split": name, "fold": fold, "case_id": case_id, "part": part, "origin": origin}
        for case_id, part in sorted(part_of.items())
    ]


def _origin(method: str, seed: int, labelled: int) -> str:
    import sklearn

    return f"drawn: {method}, seed {seed}, {labelled} labelled cases, scikit-learn {sklearn.__version__}"
