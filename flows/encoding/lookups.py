"""Small look-ups in a cohort's rows, with defaults where there is only one answer."""

from __future__ import annotations

from collections import Counter

from guidestore.embeddings.errors import AmbiguousNameError, NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot


def only_target(snapshot: Snapshot, cohort: str) -> str:
    """The cohort's one target. Raises NotFoundInStoreError, AmbiguousNameError."""
    names = sorted(set(snapshot.rows("targets", cohort=cohort)["target"].to_pylist()))
    return _only(names, cohort, "target")


def all_targets(snapshot: Snapshot, cohort: str) -> tuple[str, ...]:
    """All of the cohort's targets, sorted. Raises NotFoundInStoreError where it has none."""
    names = sorted(set(snapshot.rows("targets", cohort=cohort)["target"].to_pylist()))
    return tuple(names) or (only_target(snapshot, cohort),)


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
        raise NotFoundInStoreError(
            f"cohort {cohort} has no {what}: {known}; `guidestore cohort list` names the cohorts"
        )
    if len(names) > 1:
        raise AmbiguousNameError(f"cohort {cohort} has several {what}s: {', '.join(names)}; name one with --{what}")
    return names[0]


def describe_cohort(snapshot: Snapshot, cohort: str) -> list[dict]:
    """What a cohort holds, counted: rows of what, name, count, detail. Raises NotFoundInStoreError."""
    if cohort not in snapshot.rows("cohorts")["cohort"].to_pylist():
        known = ", ".join(sorted(set(snapshot.rows("cohorts")["cohort"].to_pylist()))) or "none yet"
        raise NotFoundInStoreError(f"there is no cohort {cohort!r}; there are {known}")
    cases = set(snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist())
    rows = [{"what": "cases", "name": "", "count": len(cases), "detail": ""}]
    images = Counter(snapshot.rows("images", cohort=cohort)["modality"].to_pylist())
    rows += [{"what": "images", "name": name, "count": n, "detail": ""} for name, n in sorted(images.items())]
    labels = snapshot.rows("labels", cohort=cohort).to_pylist()
    targets: dict[str, list[str]] = {}
    for row in sorted(snapshot.rows("targets", cohort=cohort).to_pylist(), key=lambda row: row["class_index"] or 0):
        targets.setdefault(row["target"], []).append(row["class"] or row["kind"])
    for target, classes in sorted(targets.items()):
        counts = Counter(row["class"] for row in labels if row["target"] == target)
        detail = ", ".join(f"{name} {counts[name]}" for name in classes)
        rows.append({"what": "labels", "name": target, "count": sum(counts.values()), "detail": detail})
    splits = snapshot.rows("splits", cohort=cohort).to_pylist()
    for split, fold in sorted({(row["split"], row["fold"]) for row in splits}):
        parts = Counter(row["part"] for row in splits if (row["split"], row["fold"]) == (split, fold))
        detail = " / ".join(f"{part} {parts[part]}" for part in ("train", "val", "test"))
        rows.append({"what": "split", "name": f"{split}/{fold}", "count": sum(parts.values()), "detail": detail})
    for key in snapshot.code_sets:
        if key.cohort == cohort:
            n = len(snapshot.code_set_entries(key))
            detail = f"{key.kind} of {key.code_dim} dimensions, trained on {key.trained_on}"
            rows.append({"what": "codes", "name": str(key), "count": n, "detail": detail})
    return rows
