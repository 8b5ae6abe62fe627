"""What the report was made from: enough to make it again, and to doubt it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from guidestore.embeddings.actor import versions
from guidestore.embeddings.commit_log import read_commit
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.report.sections import Fact
from guidestore.flows.report.tables import NOTHING
from guidestore.flows.results.selection import RunSelection


@dataclass(frozen=True, slots=True)
class CodeSetFacts:
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
    """When the snapshot was committed: UTC, ISO 8601."""
    facts: tuple[tuple[str, str], ...]
    """Names and values."""
    code_sets: tuple[CodeSetFacts, ...]
    libraries: tuple[tuple[str, str, str], ...]
    """Library, the version that heads were trained with, and that of this report."""
    runs: tuple[Fact, ...]
    command: str


def provenance_of(
    store: EmbeddingStore, snapshot: Snapshot, selection: RunSelection, facts: Sequence[Fact]
) -> Provenance:
    """Of the runs whose rows are `facts`."""
    commit = read_commit(snapshot.storage, snapshot.version)
    tags = sorted(name for name, version in store.tags().items() if version == snapshot.version)
    cohorts = snapshot.rows("cohorts", cohort=selection.cohort).to_pylist()
    layouts = ", ".join(dict.fromkeys(row["layout"] for row in cohorts))
    hidden = any(row["pseudonymized"] for row in cohorts)
    listed = [
        ("snapshot", f"{snapshot.version}{f' (tag {", ".join(tags)})' if tags else ''}"),
        ("time of the snapshot", commit.created_at),
        ("cohort", f"{selection.cohort} ({layouts}{', pseudonymized' if hidden else ''})"),
        ("targets", _listed(facts, "target")),
        ("splits and folds", ", ".join(dict.fromkeys(f"{fact['split']}/{fact['fold']}" for fact in facts))),
        ("modes", _listed(facts, "mode")),
        ("guidance models", _listed(facts, "guidance")),
        ("decoders", _listed(facts, "decoder")),
        ("seeds", _listed(facts, "seed")),
        ("permutations of the control", str(len({fact["permutation"] for fact in facts if fact["permutation"] >= 0}))),
        ("runs", str(len(facts))),
        ("first and last trained", " to ".join(dict.fromkeys([_first(facts), _last(facts)]))),
    ]
    words = ["guidestore", "report", *selection.options(), "--at", str(snapshot.version), "--out", "report.html"]
    return Provenance(
        selection.cohort,
        snapshot.version,
        commit.created_at,
        tuple(listed),
        _code_sets(snapshot, facts),
        _libraries(facts),
        tuple(facts),
        shlex.join(words),
    )


def _listed(facts: Sequence[Fact], column: str) -> str:
    return ", ".join(str(value) for value in dict.fromkeys(fact[column] for fact in facts) if value != "") or NOTHING


def _first(facts: Sequence[Fact]) -> str:
    return min(fact["created_at"] for fact in facts)


def _last(facts: Sequence[Fact]) -> str:
    return max(fact["created_at"] for fact in facts)


def _code_sets(snapshot: Snapshot, facts: Sequence[Fact]) -> tuple[CodeSetFacts, ...]:
    encoders = snapshot.rows("encoders").to_pylist()
    found = []
    for side in ("inferior", "superior"):
        for name in dict.fromkeys(fact[side] for fact in facts if fact[side]):
            digest = name.partition("@")[2]
            row = next((row for row in encoders if row["encoder_digest"].startswith(digest)), None)
            if row is None:
                found.append(CodeSetFacts(name, side, "not in this snapshot", NOTHING, NOTHING))
                continue
            made_by = f"{row['encoder']} {row['version']}"
            if row["weights_sha256"]:
                made_by += f", weights {row['weights_sha256'][:12]}"
            pooled = json.loads(row["preprocessing"]).get("patch_encoder_digest", "")
            patches = next((other for other in encoders if pooled and other["encoder_digest"] == pooled), None)
            if patches is not None:
                made_by += f", pools {patches['encoder']}@{pooled[:12]} (trained on {patches['trained_on']})"
            found.append(CodeSetFacts(name, side, made_by, row["trained_on"], str(row["code_dim"])))
    return tuple(found)


def _libraries(facts: Sequence[Fact]) -> tuple[tuple[str, str, str], ...]:
    trained_with: dict[str, dict[str, None]] = {}
    for fact in facts:
        for name, version in json.loads(fact["versions"]).items():
            trained_with.setdefault(name, {})[version] = None
    ours = versions()
    names = dict.fromkeys([*trained_with, *ours])
    return tuple((name, ", ".join(trained_with.get(name, {})) or NOTHING, ours.get(name, NOTHING)) for name in names)
