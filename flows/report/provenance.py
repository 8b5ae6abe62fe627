"""What the report was made from: enough to make it again, and to doubt it."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guidestore.embeddings.actor import versions
from guidestore.embeddings.commit_log import read_record
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.report.tables import NOTHING
from guidestore.flows.results.selection import RunSelection
from guidestore.heads.controls import CONTROLS
from guidestore.heads.references.train import REFERENCES


@dataclass(frozen=True, slots=True)
class CodeSetOrigin:
    """One code set that runs were trained on."""

    name: str
    """COHORT/MODALITY/ENCODER@DIGEST12."""
    role: str
    made_by: str
    trained_on: str
    code_dim: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the page says of its own making."""

    cohort: str
    snapshot: int
    time: str
    """When the snapshot was committed."""
    lines: tuple[tuple[str, str], ...]
    """Names and values."""
    code_sets: tuple[CodeSetOrigin, ...]
    libraries: tuple[tuple[str, str, str], ...]
    """Library, the version that heads were trained with, and that of this report."""
    runs: tuple[Run, ...]
    command: str


def provenance_of(
    store: EmbeddingStore, snapshot: Snapshot, selection: RunSelection, runs: Sequence[Run]
) -> Provenance:
    """Of these runs."""
    commit = read_record(snapshot.storage, snapshot.version)
    tags = sorted(name for name, version in store.tags().items() if version == snapshot.version)
    cohorts = snapshot.rows("cohorts", cohort=selection.cohort).to_pylist()
    layouts = ", ".join(dict.fromkeys(row["layout"] for row in cohorts))
    hidden = any(row["pseudonymized"] for row in cohorts)
    trained_at = [run.created_at for run in runs]
    listed = [
        ("snapshot", f"{snapshot.version}{f' (tag {", ".join(tags)})' if tags else ''}"),
        ("time of the snapshot", clock(commit.created_at)),
        ("cohort", f"{selection.cohort} ({layouts}{', pseudonymized' if hidden else ''})"),
        ("targets", _listed(run.target for run in runs)),
        ("splits and folds", _listed(f"{run.split}/{run.fold}" for run in runs)),
        ("modes", _listed(run.mode for run in runs)),
        ("guidance models", _listed(run.guidance for run in runs)),
        ("decoders", _listed(run.decoder for run in runs if run.decoder not in REFERENCES)),
        ("references for I", _listed(_short(run.decoder) for run in runs if run.decoder in REFERENCES)),
        ("seeds", _listed(str(run.seed) for run in runs)),
        ("permutations of each control", str(_permutations(runs))),
        ("runs", str(len(runs))),
        ("first and last trained", " to ".join(dict.fromkeys(map(clock, (min(trained_at), max(trained_at)))))),
    ]
    words = ["guidestore", "report", *selection.options(), "--at", str(snapshot.version), "--out", "report.html"]
    return Provenance(
        selection.cohort,
        snapshot.version,
        clock(commit.created_at),
        tuple(listed),
        _code_sets(snapshot, runs),
        _libraries(runs),
        tuple(runs),
        shlex.join(words),
    )


def clock(time: str) -> str:
    """2026-11-27T07:40:29.772+00:00 -> 2026-11-27 07:40:29 UTC; as it is, where it is no such time."""
    try:
        moment = datetime.datetime.fromisoformat(time)
    except ValueError:
        return time
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _short(reference: str) -> str:
    """reference, linear ridge, by loss -> linear ridge by loss."""
    return reference.removeprefix("reference, ").replace(",", "")


def _permutations(runs: Iterable[Run]) -> int:
    """How often a control was drawn; a control of several kinds has one run beside for each kind but the last."""
    numbers: dict[str, set[int]] = {}
    for run in runs:
        control = CONTROLS.get(run.control)
        if control and control.drawn and run.permutation >= len(control.kinds) - 1:
            numbers.setdefault(control.name, set()).add(run.permutation)
    return max(map(len, numbers.values()), default=0)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, values))) or NOTHING


def _code_sets(snapshot: Snapshot, runs: Sequence[Run]) -> tuple[CodeSetOrigin, ...]:
    encoders = snapshot.rows("encoders").to_pylist()
    origins = []
    for side in ("inferior", "superior"):
        for code_set in dict.fromkeys(getattr(run, side) for run in runs if getattr(run, side)):
            name = str(code_set)
            row = next((row for row in encoders if row["encoder_digest"].startswith(code_set.digest)), None)
            if row is None:
                origins.append(CodeSetOrigin(name, side, "not in this snapshot", NOTHING, NOTHING))
                continue
            made_by = f"{row['encoder']} {row['version']}"
            if row["weights_sha256"]:
                made_by += f", weights {row['weights_sha256'][:12]}"
            pooled = json.loads(row["preprocessing"]).get("patch_encoder_digest", "")
            patches = next((other for other in encoders if pooled and other["encoder_digest"] == pooled), None)
            if patches is not None:
                made_by += f", pools {patches['encoder']}@{pooled[:12]} (trained on {patches['trained_on']})"
            origins.append(CodeSetOrigin(name, side, made_by, row["trained_on"], str(row["code_dim"])))
    return tuple(origins)


def _libraries(runs: Sequence[Run]) -> tuple[tuple[str, str, str], ...]:
    trained_with: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.versions.items():
            trained_with.setdefault(name, {})[version] = None
    ours = versions()
    names = dict.fromkeys([*trained_with, *ours])
    return tuple((name, ", ".join(trained_with.get(name, {})) or NOTHING, ours.get(name, NOTHING)) for name in names)
