"""What the store has: drop-downs and patterns of the forms, and defaults that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect.utilities.callables import ParameterSchema

from guidestore.embeddings.runs import Head, Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.encoding.seen import keys_that_saw
from guidestore.warehouse.runs import all_runs
from guidestore.warehouse.sweeps import stored_sweeps

OF_SNAPSHOTS = ("snapshot", "at")
"""Fields that take any number beside the names that are offered."""
MOST_HEADS = 60
"""In a drop-down, the newest."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a form offers for its fields."""

    names: Mapping[str, Sequence[str]]
    """Field -> names."""
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Field -> sentences behind its description."""


def choices_of(snapshot: Snapshot) -> Choices:
    """Names of cohorts, modalities, targets, splits and code sets; fields without any are left out."""
    coded = sorted({key.name.stem.within for key in snapshot.code_sets if key.kind == "codes"})
    targets, splits = _names(snapshot, "targets", "target"), _names(snapshot, "splits", "split")
    choices = {
        "cohort": sorted({*_names(snapshot, "cohorts", "cohort"), *snapshot.display_names.values()}),
        "modality": _names(snapshot, "images", "modality"),
        "target": targets and ["", *targets],
        "targets": targets,
        "split": splits and ["", *splits],
        "inferior": coded,
        "superior": coded,
    }
    of_snapshots = [*_tags(snapshot), *(name for name, (_, run) in snapshot.aliases.items() if not run)]
    choices |= dict.fromkeys(OF_SNAPSHOTS, of_snapshots)
    choices["a"] = choices["b"] = compared_in(snapshot)
    if {"mri_t1", "mri_t1ce", "mri_t2", "mri_flair"} <= set(choices["modality"]):
        choices["modality"] = ["mri_all", *choices["modality"]]
    named = f"It has {', '.join(of_snapshots)}." if of_snapshots else "It has no names of any yet."
    saw = sorted({f"{key.name.stem.within} of {key.cohort}" for key in keys_that_saw(snapshot) if key.kind == "codes"})
    warned = f"saw-cohort, so its codes may know the test cases: {', '.join(saw)}." if saw else ""
    remarks: dict[str, str] = dict.fromkeys(OF_SNAPSHOTS, named)
    remarks |= dict.fromkeys(("inferior", "superior"), warned) if warned else {}
    offered = {name: names for name, names in choices.items() if names or name in OF_SNAPSHOTS}
    return Choices(offered, remarks)


def compared_in(snapshot: Snapshot) -> list[str]:
    """What can be compared: aliases of runs, sweeps, tags, and the newest heads that are no control."""
    runs = [name for name, (_, run) in snapshot.aliases.items() if run]
    sweeps = dict.fromkeys(sweep.name for sweep in stored_sweeps(snapshot))
    heads: dict[Head, Run] = {}
    for run in sorted(all_runs(snapshot), key=lambda run: run.created_at, reverse=True):
        if run.status == "ok" and not run.control:
            heads.setdefault(run.head, run)
    listed = [_head_listed(run) for run in list(heads.values())[:MOST_HEADS]]
    return [*runs, *sweeps, *_tags(snapshot), *listed]


def name_in(listed: str) -> str:
    """The name that `guidestore compare` takes, of what is listed; other names as they are."""
    return listed.rpartition(": ")[2]


def _head_listed(run: Run) -> str:
    """What a head is, and a run of it."""
    sets = " and ".join(name.stem.within for name in (run.inferior, run.superior) if name)
    more = [run.mode] * (run.mode != "matched") + [f"{run.labelled} labels"] * (run.labelled != "all")
    told = ", ".join([f"{run.target} by {run.head.name} on {sets}", f"{run.cohort}/{run.split}", *more])
    return f"{told}: {run.id[:12]}"


def _tags(snapshot: Snapshot) -> list[str]:
    return snapshot.select(kind="tag")["artifact"].to_pylist()


def _names(snapshot: Snapshot, kind: str, column: str) -> list[str]:
    return sorted(set(snapshot.rows(kind)[column].to_pylist()))


def defaults_of(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Deployment -> values that run on the store as it is, as far as it has them; of heads, those of the newest run."""
    cohorts = snapshot.rows("cohorts").to_pylist()
    if not cohorts:
        return {}
    cohort = cohorts[-1]["cohort"]
    heads = _heads(snapshot, cohort)
    defaults: dict[str, dict[str, Any]] = {"encode": {"cohort": cohort}}
    if heads:
        defaults["retrain"] = heads
        listed = {name: [heads[name]] for name in ("inferior", "superior", "guidance", "decoder") if name in heads}
        for kind in ("guidance", "decoder"):
            listed[kind] = [{"name": name} for name in listed.get(kind, ())] or [{"name": _DEFAULT[kind]}]
        defaults["sweep"] = {"cohort": heads["cohort"], "split": heads["split"], **listed}
        defaults["sweep"] |= {"targets": [heads["target"]]} if heads["target"] else {}
    runs = [name for name, (_, run) in snapshot.aliases.items() if run]
    if runs:
        defaults["compare"] = {"a": runs[0]}
    of_papers = [row for row in cohorts if row["layout"] in ("radpath", "derm7pt")]
    if of_papers:
        defaults["experiment"] = {"table": of_papers[-1]["layout"], "cohort": of_papers[-1]["cohort"]}
    return defaults


_DEFAULT = {"guidance": "ridge", "decoder": "logistic"}
_DECODER = {"value": "ridge", "survival": "ridge"}
"""Of a kind of target that the form's own default does not learn."""


def _heads(snapshot: Snapshot, cohort: str) -> dict[str, Any]:
    """Target, split and code sets of the newest run, else the first that there are, and the decoder where the form's
    own does not learn that target; {} where two code sets are not there."""
    found = _newest(snapshot, cohort)
    kinds = snapshot.rows("targets", cohort=found["cohort"]).to_pylist() if found else []
    kind = next((row["kind"] for row in kinds if row["target"] == found["target"]), None)
    return found | ({"decoder": _DECODER[kind]} if kind in _DECODER else {})


def _newest(snapshot: Snapshot, cohort: str) -> dict[str, Any]:
    runs = all_runs(snapshot)
    if runs:
        head = max(runs, key=lambda run: run.created_at).head
        sides = {"inferior": head.inferior, "superior": head.superior}
        names = {side: name.within if name else "" for side, name in sides.items()}
        return {"cohort": head.cohort, "target": head.target, "split": head.split, **names}
    coded = sorted({key.name.stem.within for key in snapshot.code_sets if (key.cohort, key.kind) == (cohort, "codes")})
    if len(coded) < 2:
        return {}
    firsts = {
        name: next(iter(sorted(set(snapshot.rows(kind, cohort=cohort)[name].to_pylist()))), "")
        for kind, name in (("targets", "target"), ("splits", "split"))
    }
    return {"cohort": cohort, **firsts, "inferior": coded[0], "superior": coded[1]}


def with_choices(schema: ParameterSchema, choices: Choices) -> ParameterSchema:
    """The schema of a form, with drop-downs where a field is among `choices`; a list gets them for its items. What a
    snapshot is called is checked by a pattern, which the form checks at once: a number, or one of its names."""
    copy = schema.model_copy(deep=True)
    for model in copy.definitions.values():
        for name, of_form in model.get("properties", {}).items():
            if name in choices.names:
                if name in choices.remarks:
                    of_form["description"] = f"{of_form['description']} {choices.remarks[name]}"
                names = choices.names[name]
                for option in (of_form, *of_form.get("anyOf", ())):
                    if name in OF_SNAPSHOTS and option.get("type") == "string":
                        option["pattern"] = f"^({'|'.join(['[0-9]+', *map(_literal, names)])})?$"
                    elif option.get("type") == "array":
                        option["items"] = {**option.get("items", {}), "enum": list(names)}
                    elif option.get("type") == "string":
                        option["enum"] = list(names)
    return copy


def _literal(name: str) -> str:
    """A name in a pattern that browsers and Python read alike."""
    return name.replace(".", "[.]").replace("+", "[+]")
