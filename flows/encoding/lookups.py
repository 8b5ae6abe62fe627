"""Small look-ups in a cohort's rows, with defaults where there is only one answer."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping

import numpy as np

from guidestore.embeddings.errors import AmbiguousNameError, NotFoundInStoreError
from guidestore.embeddings.medians import fills_medians
from guidestore.embeddings.outcomes import KINDS, Outcome, Target
from guidestore.embeddings.pairing import class_targets, outcomes_of, targets_of
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CodeSetKey
from guidestore.embeddings.words import count_of
from guidestore.flows.encoding.licences import licence_behind
from guidestore.flows.encoding.seen import keys_that_saw


def only_target(snapshot: Snapshot, cohort: str) -> str:
    """The cohort's one target. Raises NotFoundInStoreError, AmbiguousNameError."""
    names = sorted(set(snapshot.rows("targets", cohort=cohort)["target"].to_pylist()))
    return _only(names, cohort, "target", snapshot)


def all_targets(snapshot: Snapshot, cohort: str) -> tuple[str, ...]:
    """All of the cohort's targets that have classes, sorted. Raises NotFoundInStoreError where it has none."""
    return tuple(class_targets(snapshot, cohort)) or (only_target(snapshot, cohort),)


def only_split(snapshot: Snapshot, cohort: str) -> str:
    """The cohort's one split. Raises NotFoundInStoreError, AmbiguousNameError."""
    names = sorted(set(snapshot.rows("splits", cohort=cohort)["split"].to_pylist()))
    return _only(names, cohort, "split", snapshot)


def split_folds(snapshot: Snapshot, cohort: str, split: str) -> tuple[int, ...]:
    """All folds of a split, ascending. Raises NotFoundInStoreError."""
    rows = snapshot.rows("splits", cohort=cohort).to_pylist()
    folds = sorted({row["fold"] for row in rows if row["split"] == split})
    if not folds:
        check_cohort(snapshot, cohort)
        known = ", ".join(sorted({row["split"] for row in rows})) or "none: draw one with `guidestore cohort split`"
        raise NotFoundInStoreError(f"cohort {cohort} has no split {split!r}; it has {known}")
    return tuple(folds)


def check_cohort(snapshot: Snapshot, cohort: str) -> None:
    """Raises NotFoundInStoreError where there is no such cohort."""
    firsts = {row for kind in ("cohorts", "cases") for row in snapshot.rows(kind)["cohort"].to_pylist()}
    if cohort not in firsts:
        known = sorted(str(snapshot.display_names.get(name, name)) for name in firsts)
        near = difflib.get_close_matches(cohort, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise NotFoundInStoreError(f"there is no cohort {cohort!r}; {hint}there are {', '.join(known) or 'none yet'}")


def _only(names: list[str], cohort: str, what: str, snapshot: Snapshot) -> str:
    if not names:
        check_cohort(snapshot, cohort)
        known = f"it has no {what} yet" if what == "target" else "draw one with `guidestore cohort split`"
        raise NotFoundInStoreError(
            f"cohort {cohort} has no {what}: {known}; `guidestore cohort list` names the cohorts"
        )
    if len(names) > 1:
        raise AmbiguousNameError(f"cohort {cohort} has several {what}s: {', '.join(names)}; name one with --{what}")
    return names[0]


def describe_cohort(snapshot: Snapshot, cohort: str) -> list[dict]:
    """What a cohort holds, counted: rows of what, name, count, detail. Raises NotFoundInStoreError."""
    cohort = snapshot.first_name(cohort)
    check_cohort(snapshot, cohort)
    cases = set(snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist())
    rows = [{"what": "cases", "name": "", "count": len(cases), "detail": ""}]
    images = Counter(snapshot.rows("images", cohort=cohort)["modality"].to_pylist())
    rows += [{"what": "images", "name": name, "count": n, "detail": ""} for name, n in sorted(images.items())]
    for name, target in targets_of(snapshot, cohort).items():
        _, outcomes = outcomes_of(snapshot, cohort, name, KINDS)
        rows.append(
            {"what": "labels", "name": name, "count": len(outcomes), "detail": outcome_summary(target, outcomes)}
        )
    splits = snapshot.rows("splits", cohort=cohort).to_pylist()
    for split, fold in sorted({(row["split"], row["fold"]) for row in splits}):
        parts = Counter(row["part"] for row in splits if (row["split"], row["fold"]) == (split, fold))
        detail = " / ".join(f"{part} {parts[part]}" for part in ("train", "val", "test"))
        rows.append({"what": "split", "name": f"{split}/{fold}", "count": sum(parts.values()), "detail": detail})
    saw = keys_that_saw(snapshot)
    for key in snapshot.code_sets:
        if key.cohort == cohort:
            entries = snapshot.code_set_entries(key)
            detail = f"{key.kind} of {key.code_dim} dimensions, trained on {key.trained_on}"
            detail += ", saw-cohort" if key in saw else ""
            licence = licence_behind(snapshot, key)
            detail += f", weights {licence}" if licence else ""
            detail += _unusable(snapshot, key, [entry.case_id for entry in entries])
            rows.append({"what": "codes", "name": str(key), "count": len(entries), "detail": detail})
    return rows


def outcome_summary(target: Target, outcomes: Mapping[str, Outcome]) -> str:
    """What the outcomes of a target are like: ``survival in months: 31 events, 40 censored, events at 4 / 12 / 29``."""
    y = target.y_of(outcomes, sorted(outcomes))
    unit = f" in {target.unit}" if target.unit else ""
    if target.kind == "value":
        return f"value{unit}{_quartiles(y, ': quartiles')}"
    if target.kind == "survival":
        events = y[y[:, 1] == 1, 0]
        return (
            f"survival{unit}: {count_of(len(events), 'event')}, {len(y) - len(events)} censored"
            f"{_quartiles(events, ', events at')}{_quartiles(y[y[:, 1] == 0, 0], ', censored at')}"
        )
    if target.kind == "multilabel":
        looked, has = (~np.isnan(y)).sum(axis=0), np.nansum(y, axis=0)
        return "labels: " + ", ".join(
            f"{name} {h:g} of {n}" for name, h, n in zip(target.names, has, looked, strict=True)
        )
    counts = np.bincount(y, minlength=len(target.names)) if len(y) else np.zeros(len(target.names), int)
    listed = ", ".join(f"{name} {count}" for name, count in zip(target.names, counts, strict=True))
    return f"grades: {listed}" if target.kind == "ordinal" else listed


def _quartiles(values: np.ndarray, what: str) -> str:
    if not len(values):
        return ""
    return f"{what} " + " / ".join(f"{value:.4g}" for value in np.quantile(values, (0.25, 0.5, 0.75)))


def _unusable(snapshot: Snapshot, key: CodeSetKey, case_ids: list[str]) -> str:
    """What of a set of case codes no training takes. Only imported codes may hold NaN."""
    if key.kind != "codes":
        return ""
    twice = sorted(case for case, count in Counter(case_ids).items() if count > 1)
    told = f"; {count_of(len(twice), 'case')} with several codes (such as {twice[0]}), not used" if twice else ""
    encoders = {row["encoder_digest"]: row["input_kind"] for row in snapshot.rows("encoders").to_pylist()}
    if encoders.get(key.encoder_digest, "codes") == "codes":
        codes = snapshot.codes(key)
        broken = int((~np.isfinite(codes.codes_nd)).any(axis=1).sum())
        use = "filled in with train's median" if fills_medians(snapshot, key) else "which are not used"
        told += f"; {broken} with NaN, {use}" if broken else ""
    return told
