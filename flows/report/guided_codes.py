"""Stored codes and the stored G of each fold and seed, on the test pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pairing import pair
from guidestore.embeddings.runs import Unit
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import PairedCodes
from guidestore.flows.report.sections import Fact, Section
from guidestore.heads.controls import SHUFFLED
from guidestore.heads.input_rows import GUIDED_ROWS
from guidestore.heads.registry import load_guidance


@dataclass(frozen=True, slots=True, eq=False)
class GuidedPairs:
    """The n test pairs of one (split, fold, seed), unlabelled ones too, and the Gs that were trained for them."""

    unit: Unit
    case_ids: tuple[str, ...]
    labels: np.ndarray
    """(n,) int64; -1 where unlabelled."""
    inferior_nd: np.ndarray
    superior_nd: np.ndarray
    guidance: str
    """Weights artifact of G."""
    shuffled: tuple[str, ...]
    """Of each permutation of the control."""


def guided_pairs_of(snapshot: Snapshot, section: Section) -> list[GuidedPairs]:
    """One for each fold and seed that has a trained G and at least two test pairs, in the order of fold and seed.

    Raises GuidestoreError where the codes are not in the snapshot (any more).
    """
    by_unit: dict[Unit, dict[int, Fact]] = {}
    for fact in section.facts:
        if fact["row"] in GUIDED_ROWS and fact["control"] in ("", SHUFFLED) and "guidance" in _weights(fact):
            by_unit.setdefault((fact["split"], fact["fold"], fact["seed"]), {})[fact["permutation"]] = fact
    paired: dict[tuple, PairedCodes] = {}
    found = []
    for unit, by_permutation in sorted(by_unit.items()):
        fact = by_permutation.get(-1)
        if fact is None:
            continue
        place = tuple(fact[name] for name in ("cohort", "target", "inferior", "superior", "split", "fold"))
        if place not in paired:
            names = ("cohort", "target", "inferior", "superior", "split", "fold")
            paired[place] = pair(snapshot, **dict(zip(names, place, strict=True)))
        codes = paired[place]
        rows = codes.rows("test", codes.is_pair)
        if len(rows) < 2:
            continue
        found.append(
            GuidedPairs(
                unit,
                tuple(codes.case_ids[row] for row in rows),
                codes.labels[rows],
                codes.inferior_nd[rows],
                codes.superior_nd[rows],
                _weights(fact)["guidance"],
                tuple(_weights(by_permutation[p])["guidance"] for p in sorted(by_permutation) if p >= 0),
            )
        )
    return found


def _weights(fact: Fact) -> Mapping[str, str]:
    return json.loads(fact["weights"]) if fact["status"] == "ok" else {}


def foretell(snapshot: Snapshot, artifact: str, pairs: GuidedPairs) -> np.ndarray:
    """(n, d_S) G(z_I) of the test pairs, by the stored G. Raises InvalidInputError for a G that gives no such codes."""
    tensors, entry = snapshot.weights(artifact)
    guided_nd = load_guidance(entry.meta["config"], tensors).predict(pairs.inferior_nd)
    if guided_nd.shape != pairs.superior_nd.shape:
        raise InvalidInputError(
            f"G ({entry.meta['config']['name']}) gives {guided_nd.shape[1]} numbers and z_S has "
            f"{pairs.superior_nd.shape[1]}: it foretells no code, so there is nothing to hold against z_S"
        )
    return guided_nd
