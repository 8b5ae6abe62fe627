"""Commits a cohort, whatever layout it was read from: checks the tables against each other and against the store.

Adding the same again changes nothing; new cases, images, labels and splits are added to what is there; what contradicts
the store is refused before anything is written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from guidestore.embeddings.alike import alike_ids, date_ids
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.leaks import labels_by_target, target_among
from guidestore.embeddings.outcomes import KINDS, NAMED_KINDS
from guidestore.embeddings.pixels import GIVEN
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import PARTS, check_name
from guidestore.warehouse.cohorts.image_rows import changes, digests_of

COHORT_KINDS = ("cohorts", "targets", "cases", "labels", "splits", "images")
Rows = Sequence[Mapping[str, Any]] | pa.Table


def as_rows(rows: Rows) -> list[dict[str, Any]]:
    """Copies, one dict a row."""
    return rows.to_pylist() if isinstance(rows, pa.Table) else [dict(row) for row in rows]  # pyright: ignore[reportAttributeAccessIssue]


_KEYS: dict[str, tuple[str, ...]] = {
    "cohorts": ("layout", "source", "pseudonymized", "note", "collection"),
    "targets": ("target", "class"),
    "cases": ("case_id",),
    "labels": ("case_id", "target", "class"),  # of several labels; else a case has one of a target
    "splits": ("split", "fold", "case_id"),
    "images": ("case_id", "modality", "image_id"),
}
"""What makes a row of a kind the same row; its other columns are what it says."""


@dataclass(frozen=True, slots=True)
class CohortIssue:
    """Something that reading a cohort met and did not hide: its kind, a sentence, and what it concerns."""

    kind: str
    sentence: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CohortTables:
    """One cohort as rows of `embeddings.rows.SCHEMAS` (list of dicts, or Arrow). The column ``cohort`` may be left out.

    `cases` may be left out where `images` name them all. In `targets` the classes stand in class_index
    order; class_index may be left out, it is then the order of the rows.
    """

    cohort: str
    cohorts: Rows = ()
    targets: Rows = ()
    cases: Rows = ()
    labels: Rows = ()
    splits: Rows = ()
    images: Rows = ()
    unlabelled: Rows = ()
    """``case_id, target`` (of several labels: ``class``) that a table names and leaves empty: what superseding takes a
    label from."""
    issues: tuple[CohortIssue, ...] = ()


@dataclass(frozen=True, slots=True)
class CohortReport:
    """What `add_cohort` did."""

    cohort: str
    added: Mapping[str, int]
    """Rows that are new, by kind."""
    snapshot: int
    """Commit that has them; the old head where nothing was new."""
    issues: tuple[CohortIssue, ...] = field(default=())
    targets: int = 0
    """New targets."""
    classes: int = 0
    """New classes, of new targets and of those that were there; measurements have none."""
    splits: int = 0
    """Splits among the new rows, each of which has a row per case and fold."""
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What superseded what, by kind: a phrase for each row."""
    images_changed: Mapping[str, int] = field(default_factory=dict)
    """Images of which something is said otherwise than before, by what (``mpp``, ``path``)."""


def add_cohort(
    store: EmbeddingStore,
    tables: CohortTables,
    *,
    message: str = "",
    supersede: bool = False,
    dry_run: bool = False,
) -> CohortReport:
    """Commits `tables` in one transaction, all or nothing.

    supersede: labels and images that contradict the store's take their place, and cases of `unlabelled` lose their
    labels; the old ones stay in the history. dry_run: commits nothing, and says what would be. Raises InvalidInputError
    on a bad name, a row twice with two meanings, a label or part of an unknown case, an unknown class or part, a case
    in two parts of a fold, or anything else that contradicts what the store has of the cohort.
    """
    cohort, issues = check_name(tables.cohort, "cohort"), tables.issues
    snapshot = store.snapshot()
    given = {kind: _rows_of(tables, kind) for kind in COHORT_KINDS}
    given["cases"] = _all_cases(given)
    _check_names(given)
    standing = {kind: snapshot.rows(kind, cohort=cohort).to_pylist() for kind in COHORT_KINDS}
    for row in given["cohorts"]:
        check_pseudonyms(cohort, standing["cohorts"], hidden=bool(row["pseudonymized"]))
    given["targets"] = _ordered_targets(cohort, given, standing["targets"])
    new: dict[str, list[dict[str, Any]]] = {}
    whole: dict[str, list[dict[str, Any]]] = {}
    """Tables that supersede those of their kind."""
    changed: dict[str, tuple[str, ...]] = {}
    images_changed: Mapping[str, int] = {}
    for kind in COHORT_KINDS:
        new[kind], others = _news(snapshot, cohort, kind, given[kind], standing[kind], supersede=supersede)
        if others:
            whole[kind] = _with_changed(kind, standing[kind], others)
        if kind == "images":
            old = {_identity(kind, row): row for row in standing[kind]}
            images_changed = Counter(what for row in others for what in changes(row, old[_identity(kind, row)]))
    targets, units_said = _with_units(standing["targets"], given["targets"])
    if units_said:
        whole["targets"], changed = targets, {"targets": units_said}
    labels = whole.get("labels") or standing["labels"]
    if supersede:
        left = _without_labels(labels, as_rows(tables.unlabelled))
        if len(left) < len(labels):
            whole["labels"] = labels = left
        changed = changed | _changes(standing["labels"], labels)
    _check_known(cohort, given, standing)
    if new["labels"] or "labels" in whole:
        _check_codes(snapshot, cohort, [*labels, *new["labels"]])
    if "labels" in whole:
        stand = {**standing, "targets": whole.get("targets") or standing["targets"]}
        unused = _without_unused_classes([*labels, *new["labels"]], stand, given, new)
        if not _has_runs(snapshot, cohort):
            new["targets"] = [] if unused else new["targets"]
            whole |= unused
        elif unused:
            issues = (*issues, _emptied(cohort, [*stand["targets"], *new["targets"]], unused["targets"]))
    added = {kind: len(rows) for kind, rows in new.items()}
    if alike := alike_ids((row["case_id"] for row in new["cases"]), (row["case_id"] for row in standing["cases"])):
        issues = (*issues, CohortIssue("alike ids", alike, ()))
    if dates := date_ids(row["case_id"] for row in new["cases"]):
        issues = (*issues, CohortIssue("ids like dates", dates, ()))
    if standing["cohorts"]:
        added["cohorts"] = 0  # another source of it
    classes = sum(row["class"] not in (None, "") for row in new["targets"])
    known = {row["target"] for row in standing["targets"]}
    counts = (
        len({row["target"] for row in new["targets"]} - known),
        classes,
        len({row["split"] for row in new["splits"]}),
    )
    if dry_run or not (any(new.values()) or whole):
        return CohortReport(cohort, added, snapshot.version, issues, *counts, changed, images_changed)
    with store.begin(message or f"cohort {cohort}", read_at=snapshot.read_at) as transaction:
        for kind in COHORT_KINDS:
            rows = whole.get(kind, []) + new[kind]
            artifact = ""
            if rows:
                artifact = transaction.write_rows(kind, pa.Table.from_pylist(rows, schema=SCHEMAS[kind]), cohort=cohort)
            if kind in whole:
                for entry in snapshot.entries(kind=f"rows:{kind}", cohort=cohort):
                    transaction.replace(entry, by=artifact)
    if transaction.snapshot is None:
        raise RuntimeError("a transaction without an error leaves a snapshot")
    version = transaction.snapshot.version
    return CohortReport(cohort, added, version, issues, *counts, changed, images_changed)


def _without_labels(labels: list[dict[str, Any]], unlabelled: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The labels but those of `unlabelled`."""
    gone = {(row["case_id"], row["target"], row.get("class") or "") for row in unlabelled}
    return [
        row
        for row in labels
        if (row["case_id"], row["target"], "") not in gone and (row["case_id"], row["target"], row["class"]) not in gone
    ]


def _changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    said = {_identity("labels", row): _said(row) for row in after}
    changes = [
        f"{row['case_id']} {_of(row)}: {_said(row)} is now {said.get(_identity('labels', row), 'no label')}"
        for row in before
        if said.get(_identity("labels", row)) != _said(row)
    ]
    return {"labels": tuple(changes)} if changes else {}


def _said(row: Mapping[str, Any]) -> Any:
    if row["time"] is not None:
        return f"{row['time']:g}, {'event' if row['event'] else 'censored'}"
    return row["value"] if row["value"] is not None else row["class"]


def _of(row: Mapping[str, Any]) -> str:
    """What a label is of: its target, and which of several labels it is."""
    return f"{row['target']} ({row['class']})" if row["class"] and row["value"] is not None else row["target"]


def _has_runs(snapshot: Snapshot, cohort: str) -> bool:
    """Whether heads were trained: their probabilities are in the order of classes as it is."""
    return bool(snapshot.select(kind="run", cohort=cohort).num_rows)


def _without_unused_classes(
    labels: list[dict[str, Any]],
    standing: Mapping[str, list[dict[str, Any]]],
    given: Mapping[str, list[dict[str, Any]]],
    new: dict[str, list[dict[str, Any]]],
) -> dict[str, list[dict[str, Any]]]:
    """The table of targets without classes that lost their last label and are not given, in their new order and with
    the new ones; nothing where none did."""
    used = {(row["target"], row["class"]) for row in labels}
    had = {(row["target"], row["class"]) for row in standing["labels"]}
    named = {(row["target"], row["class"]) for row in given["targets"]} - {
        (row["target"], row["class"]) for row in standing["targets"]
    }
    rows = sorted([*standing["targets"], *new["targets"]], key=lambda row: row["class_index"] or 0)
    left: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = (row["target"], row["class"])
        if row["class"] and (row["kind"] or "classes") == "classes" and name in had and name not in used | named:
            continue
        left.setdefault(row["target"], []).append(row)
    if sum(map(len, left.values())) == len(rows):
        return {}
    return {
        "targets": [
            {**row, "class_index": index if row["class"] else None}
            for of_target in left.values()
            for index, row in enumerate(of_target)
        ]
    }


def _emptied(cohort: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> CohortIssue:
    """Classes that have no label any more, and stay because of the runs."""
    left = {(row["target"], row["class"]) for row in after}
    gone = [row for row in before if (row["target"], row["class"]) not in left]
    targets = list(dict.fromkeys(row["target"] for row in gone))
    named = "; ".join(
        f"{target} {', '.join(row['class'] for row in gone if row['target'] == target)}" for target in targets
    )
    return CohortIssue(
        "classes without labels",
        f"no case has these classes any more: {named}; they stay, since the probabilities of stored runs are in their "
        f"order: to train without them, `guidestore cohort remove {cohort} --target {targets[0]}` and add its labels "
        "again",
        tuple(row["class"] for row in gone),
    )


def _check_codes(snapshot: Snapshot, cohort: str, labels: list[dict[str, Any]]) -> None:
    """Raises InvalidInputError where a column of imported codes is a target: codes made here see images alone."""
    encoders = {row["encoder_digest"]: row for row in snapshot.rows("encoders").to_pylist()}
    by_target = labels_by_target(labels)
    for key in snapshot.code_sets:
        encoder = encoders.get(key.encoder_digest)
        if key.cohort != cohort or key.kind != "codes" or encoder is None or encoder["input_kind"] != "codes":
            continue
        codes, names = snapshot.codes(key), json.loads(encoder["preprocessing"] or "{}").get("columns", [])
        for target, of_cases in by_target.items():
            found = target_among(codes.codes_nd, codes.case_ids, of_cases)
            if found is None and target not in names:
                continue
            name = names[found] if names and found is not None else target if found is None else found
            said = "has the name of" if found is None else "is"
            words = "" if found is None else " in other words"
            raise InvalidInputError(
                f"column {name} of {key} {said} target {target}{words}, and codes must not hold what they foretell: "
                f"import these codes again with --drop '{name}' --replace, or take {target} out of the labels"
            )


def _rows_of(tables: CohortTables, kind: str) -> list[dict[str, Any]]:
    source = getattr(tables, kind)
    rows = source.to_pylist() if isinstance(source, pa.Table) else source
    names = SCHEMAS[kind].names
    blank = {name: "" if SCHEMAS[kind].field(name).type == pa.string() else None for name in names}
    full = []
    for row in rows:
        unknown = set(row) - set(names)
        if unknown:
            raise InvalidInputError(f"rows of kind {kind} have no column {', '.join(sorted(unknown))}")
        if row.get("cohort", tables.cohort) != tables.cohort:
            raise InvalidInputError(f"a row of kind {kind} is of cohort {row['cohort']}, not of {tables.cohort}")
        full.append({**blank, **row, "cohort": tables.cohort})
    return full


def _all_cases(given: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The cases of the cohort, each once, in the order of their ids."""
    cohorts = {row["case_id"]: row["cohort"] for kind in ("cases", "images") for row in given[kind] if row["case_id"]}
    return [{"cohort": cohorts[case_id], "case_id": case_id} for case_id in sorted(cohorts)]


def _check_names(given: Mapping[str, list[dict[str, Any]]]) -> None:
    for row in given["cases"]:
        check_name(row["case_id"], "case id")
    for row in given["images"]:
        check_name(row["image_id"], f"image id (case {row['case_id']})")
        check_name(row["modality"], f"modality (case {row['case_id']})")
    for split in {row["split"] for row in given["splits"]}:
        check_name(split, "split")
    for target in {row["target"] for kind in ("targets", "labels") for row in given[kind]}:
        check_name(target, "target")
    for row in given["splits"]:
        if row["part"] not in PARTS:
            raise InvalidInputError(
                f"case {row['case_id']} has the part {row['part']!r} in {row['split']}/{row['fold']}; use "
                f"{', '.join(PARTS)}"
            )
        if not isinstance(row["fold"], int) or row["fold"] < 0:
            raise InvalidInputError(f"split {row['split']} has the fold {row['fold']!r}; folds count from 0")


def check_pseudonyms(cohort: str, standing: Sequence[Mapping[str, Any]], *, hidden: bool) -> None:
    """Raises InvalidInputError where the rows of kind cohorts that stand were added otherwise than with (`hidden`) or
    without pseudonyms."""
    for old in standing:
        if bool(old["pseudonymized"]) != hidden:
            with_or_without = "with" if old["pseudonymized"] else "without"
            raise InvalidInputError(
                f"cohort {cohort} was added {with_or_without} --pseudonymize: add to it in the same way, or choose "
                "another cohort name"
            )


def _ordered_targets(
    cohort: str, given: Mapping[str, list[dict[str, Any]]], standing: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The classes of each target with their indices: those of the store stay, new ones come after them."""
    kinds = {row["target"]: row["kind"] or "classes" for row in standing}
    units = {row["target"]: row["unit"] or "" for row in standing}
    old: dict[str, list[str]] = {}
    for row in sorted(standing, key=lambda row: row["class_index"] or 0):
        old.setdefault(row["target"], []).append(row["class"])
    new: dict[str, list[str]] = {}
    rows = []
    for row in sorted(given["targets"], key=lambda row: row["class_index"] or 0):
        kind, unit = row["kind"] or "classes", row["unit"] or ""
        if kind not in KINDS:
            raise InvalidInputError(f"target {row['target']} is of the kind {kind!r}; use {', '.join(KINDS)}")
        if kinds.setdefault(row["target"], kind) != kind:
            raise InvalidInputError(
                f"target {row['target']} of cohort {cohort} is of kind {kinds[row['target']]} in the store, not {kind}"
                "; name it otherwise, or take the target out with `guidestore cohort remove`"
            )
        if unit and (units.get(row["target"]) or unit) != unit:
            raise InvalidInputError(
                f"target {row['target']} of cohort {cohort} is in {units[row['target']]} in the store, not in {unit}; "
                "say the same unit, or take the target out with `guidestore cohort remove`"
            )
        if kind in NAMED_KINDS:
            new.setdefault(row["target"], []).append(row["class"])
        else:
            rows.append(row)
    for target, classes in new.items():
        before = list(dict.fromkeys(old.get(target, [])))
        common = [name for name in classes if name in before]
        order = before + [name for name in dict.fromkeys(classes) if name not in before]
        graded = kinds[target] == "ordinal"
        places = [order.index(name) for name in classes]
        if common != [name for name in before if name in classes] or (graded and places != sorted(places)):
            what = "grades" if graded else "class order"
            raise InvalidInputError(
                f"target {target} of cohort {cohort} has the {what} {', '.join(before)} and cannot take "
                f"{', '.join(classes)}: probabilities are stored in that order; keep it, or name a new target"
            )
        kind = None if kinds[target] == "classes" else kinds[target]
        rows += [
            {"cohort": cohort, "target": target, "class_index": index, "class": name, "kind": kind, "unit": None}
            for index, name in enumerate(order)
        ]
    return rows


def _with_units(
    standing: list[dict[str, Any]], given: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The targets that stand, those without a unit with the one that is said now, and what that is of which; none and
    none where nothing is said."""
    units = {row["target"]: row["unit"] for row in given if row["unit"]}
    said = {row["target"] for row in standing if units.get(row["target"]) and not row["unit"]}
    if not said:
        return [], ()
    rows = [{**row, "unit": units[row["target"]]} if row["target"] in said else row for row in standing]
    return rows, tuple(f"{target} is in {units[target]}" for target in sorted(said))


def _news(
    snapshot: Snapshot,
    cohort: str,
    kind: str,
    given: list[dict[str, Any]],
    standing: list[dict[str, Any]],
    *,
    supersede: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows that the store lacks, and those that take the place of others: image rows under another path or of a file
    that no code was made of, labels and images that `supersede`.

    Raises InvalidInputError on contradictions.
    """
    old = {_identity(kind, row): row for row in standing}
    new: dict[tuple, dict[str, Any]] = {}
    moved = []
    for row in given:
        identity = _identity(kind, row)
        known = old.get(identity) or new.get(identity)
        if known is None:
            new[identity] = row
        elif kind == "images":
            moved += _moved(snapshot, row, known, in_store=identity in old, supersede=supersede)
        elif kind in ("labels", "splits"):
            said = "label" if kind == "labels" else "part"
            is_said, was_said = (_said(row), _said(known)) if kind == "labels" else (row["part"], known["part"])
            if is_said != was_said and kind == "labels" and supersede and identity in old:
                moved.append(row)
            elif is_said != was_said:
                place = _of(row) if kind == "labels" else f"{row['split']}/{row['fold']}"
                where = "in the store" if identity in old else "as well"
                hint = ""
                if identity in old:
                    hint = (
                        ", or correct the store with --replace"
                        if kind == "labels"
                        else ": a split that stands is never changed, so name another"
                    )
                raise InvalidInputError(
                    f"case {row['case_id']} of cohort {cohort} is {is_said!r} in {place} and {was_said!r} {where};"
                    f" give it one {said}{hint}"
                )
    return list(new.values()), moved


def _moved(
    snapshot: Snapshot, row: dict[str, Any], known: dict[str, Any], *, in_store: bool, supersede: bool
) -> list[dict[str, Any]]:
    name = f"image {row['image_id']} ({row['modality']}) of case {row['case_id']}"
    if not in_store:
        raise InvalidInputError(f"{name} comes twice; give each image of a case and modality its own image_id")
    same = digests_of(row) == digests_of(known)
    if not (same or supersede) and _is_used(snapshot, known["sha256"]):
        raise InvalidInputError(
            f"{name} is another file than the one in the store (sha256 {row['sha256'][:12]}, there "
            f"{known['sha256'][:12]}), of which codes were made: --replace takes it instead, and the next "
            "encode makes the codes again; or add it under an image_id of its own"
        )
    # Said once of a file, it need not be said again.
    if same and known["mpp_source"] == "option" and row["mpp_source"] not in GIVEN:
        row = {**row, "mpp": known["mpp"], "mpp_source": "option"}
    # A file that could not be read, and was copied again, is simply the file.
    return [row] if changes(row, known) else []


def _is_used(snapshot: Snapshot, digest: str) -> bool:
    """Whether something in the store was made of the file with this sha256."""
    return any(digest in inputs for inputs in snapshot.table["inputs"].to_pylist())


def _with_changed(
    kind: str, standing: Iterable[dict[str, Any]], changed: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """All rows that stand; those of `changed` in the place of theirs."""
    by_identity = {_identity(kind, row): row for row in changed}
    return [by_identity.get(_identity(kind, row)) or row for row in standing]


def _identity(kind: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    if kind == "labels" and row["value"] is None:
        return row["case_id"], row["target"], ""
    return tuple("" if row[name] is None else row[name] for name in _KEYS[kind])


def _check_known(
    cohort: str, given: Mapping[str, list[dict[str, Any]]], standing: Mapping[str, list[dict[str, Any]]]
) -> None:
    cases = {row["case_id"] for tables in (given, standing) for row in tables["cases"]}
    classes = {(row["target"], row["class"]) for tables in (given, standing) for row in tables["targets"]}
    for kind, what in (("labels", "label"), ("splits", "part")):
        for row in given[kind]:
            if row["case_id"] not in cases:
                raise InvalidInputError(
                    f"case {row['case_id']} has a {what} but is no case of cohort {cohort}; add the case and its "
                    f"images too, or take the {what} out"
                )
    unnamed = {
        row["target"]
        for tables in (given, standing)
        for row in tables["targets"]
        if row["kind"] in ("value", "survival")
    }
    for row in given["labels"]:
        if row["target"] in unnamed and not row["class"]:
            continue
        if (row["target"], row["class"]) not in classes:
            known = ", ".join(name for target, name in sorted(classes) if target == row["target"]) or "none"
            raise InvalidInputError(
                f"case {row['case_id']} has the class {row['class']!r} of target {row['target']}, whose classes are "
                f"{known}; correct the label, or add the class"
            )
