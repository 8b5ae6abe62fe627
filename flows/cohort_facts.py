"""Small look-ups in a cohort's rows, with defaults where there is only one answer."""

from __future__ import annotations

from embeddings.errors import AmbiguousNameError, NotFoundInStoreError
from embeddings.snapshot import Snapshot


def only_target(snapshot: Snapshot, cohort: str) -> str:
    """The cohort's one target. Raises NotFoundInStoreError, AmbiguousNameError."""
    names = sorted(set(snapshot.rows("targets", cohort=cohort)["target"].to_pylist()))
    return _only(names, cohort, "target")


def only_split(snapshot: Snapshot, cohort: str) -> str:
    """The cohort's one split. Raises NotFoundInStoreError, AmbiguousNameError."""
    names = sorted(set(snapshot.rows("splits", cohort=cohort)["split"].to_pylist()))
    return _only(names, cohort, "split")


def split_folds(snapshot: Snapshot, cohort: str, split: str) -> tuple[int, ...]:
    """All folds of a split, ascending. Raises NotFoundInStoreError."""
    rows = snapshot.rows("splits", cohort=cohort).to_pylist()
    folds = sorted({row["fold"] for row in rows if row["split"] == split})
    if not folds:
        known = ", ".join(sorted({row["split"] for row in rows})) or "none: draw one with `guidestore cohort split`"
        raise NotFoundInStoreError(f"cohort {cohort} has no split {split!r}; it has {known}")
    return tuple(folds)


def _only(names: list[str], cohort: str, what: str) -> str:
    if not names:
        known = f"it has no {what} yet" if what == "target" else "draw one with `guidestore cohort split`"
        raise NotFoundInStoreError(f"cohort {cohort} has no {what}: {known}; `guidestore cohort list` names the cohorts")
    if len(names) > 1:
        raise AmbiguousNameError(f"cohort {cohort} has several {what}s: {', '.join(names)}; name one with --{what}")
    return names[0]
