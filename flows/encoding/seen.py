"""Whether encoders saw a cohort's public collection when they were pretrained: a fact that warns, with its source."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from guidestore.embeddings.pretraining import COLLECTIONS, collections_of, pretraining_of
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CodeSetKey, CodeSetName


def seen_notes(snapshot: Snapshot, cohort: str, names: Iterable[CodeSetName | None]) -> list[str]:
    """A sentence on each encoder behind these code sets that saw the collection which the cohort is of."""
    wanted = [name for name in dict.fromkeys(names) if name is not None]
    keys = [key for key in snapshot.code_sets if any(name.means(key.name) for name in wanted)]
    return seen_by(snapshot, cohort, dict.fromkeys(one for key in keys for one in _trained(snapshot, key)))


def seen_in(snapshot: Snapshot, runs: Iterable[Run]) -> list[str]:
    """As `seen_notes`, of all code sets that these runs used."""
    used: dict[str, list[CodeSetName | None]] = {}
    for run in runs:
        used.setdefault(run.cohort, []).extend((run.inferior, run.superior))
    notes = (seen_notes(snapshot, cohort, names) for cohort, names in used.items())
    return list(dict.fromkeys(note for of_cohort in notes for note in of_cohort))


def seen_by(snapshot: Snapshot, cohort: str, encoders: Iterable[str], case_ids: Iterable[str] = ()) -> list[str]:
    """As `seen_notes`, by the encoders' names. case_ids: those that the cohort gets besides its own."""
    encoders = list(encoders)
    of = _collections(snapshot, cohort, case_ids) if any(_saw(encoder) for encoder in encoders) else {}
    notes = []
    for encoder in encoders:
        known = pretraining_of(encoder)
        both = [name for name in _saw(encoder) if name in of]
        if known and both:
            said = " and ".join(f"{COLLECTIONS[name]} ({of[name]})" for name in both)
            notes.append(
                f"saw-cohort: encoder {encoder} was pretrained on {said}, which cohort {cohort} is of, so its codes "
                "may know "
                f"the test cases; source: {known.source}"
            )
    return notes


def keys_that_saw(snapshot: Snapshot) -> list[CodeSetKey]:
    """The code sets behind which there is an encoder that saw the collection which their cohort is of."""
    of: dict[str, Mapping[str, str]] = {}
    found = []
    for key in snapshot.code_sets:
        saw = {name for encoder in _trained(snapshot, key) for name in _saw(encoder)}
        if saw and key.cohort not in of:
            of[key.cohort] = _collections(snapshot, key.cohort)
        if saw and saw & of[key.cohort].keys():
            found.append(key)
    return found


def _trained(snapshot: Snapshot, key: CodeSetKey) -> list[str]:
    """The encoders behind a code set whose weights are not random."""
    rows = snapshot.rows("encoders").to_pylist()
    drawn = {row["encoder_digest"] for row in rows if '"weights":"random"' in (row["preprocessing"] or "")}
    return [one.encoder for one in encoders_behind(snapshot, key) if one.encoder_digest not in drawn]


def _saw(encoder: str) -> tuple[str, ...]:
    known = pretraining_of(encoder)
    return known.saw or () if known else ()


def _collections(snapshot: Snapshot, cohort: str, case_ids: Iterable[str] = ()) -> Mapping[str, str]:
    """Collection -> how it is known that the cohort is of it."""
    rows = snapshot.rows("cohorts", cohort=cohort).to_pylist()
    cases = {*snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist(), *case_ids}
    return collections_of((row["collection"] or "" for row in rows), cases)


def encoders_behind(snapshot: Snapshot, key: CodeSetKey) -> list[CodeSetKey]:
    """The code set, and that of the patch codes which its encoder pooled."""
    rows = snapshot.rows("encoders").to_pylist()
    encoder = next((row for row in rows if row["encoder_digest"] == key.encoder_digest), {"preprocessing": "{}"})
    pooled = json.loads(encoder["preprocessing"]).get("patch_encoder_digest", "")
    return [key, *(other for other in snapshot.code_sets if pooled and other.encoder_digest == pooled)]
