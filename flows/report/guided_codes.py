"""Stored codes and the stored G of each fold and seed, on the test pairs."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.pairing import pair
from guidestore.embeddings.runs import Run, Unit
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import PairedCodes
from guidestore.flows.report.sections import Section
from guidestore.heads.controls import SHUFFLED
from guidestore.heads.input_rows import GUIDED_ROWS
from guidestore.heads.registry import load_guidance


@dataclass(frozen=True, slots=True, eq=False)
class GuidedPairs:
    """The n test pairs of one (split, fold, seed), unlabelled ones too, and the Gs that were trained for them."""

    unit: Unit
    case_ids: tuple[str, ...]
    y: np.ndarray
    """Of the test pairs, by the target's kind (embeddings.outcomes)."""
    inferior_nd: np.ndarray
    superior_nd: np.ndarray
    guidance: str
    """Weights artifact of G."""
    shuffled: tuple[str, ...]
    """Of each permutation of the control."""


class Pairs:
    """Paired codes of the runs of a section as they were when it was trained, each read once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._at = functools.cache(lambda version: replace(snapshot, version=version or snapshot.version))
        self._known: dict[tuple[Any, ...], PairedCodes] = {}

    def of(self, run: Run) -> PairedCodes:
        """Of a run with both code sets. Raises GuidestoreError where they are not there (a purge took them)."""
        if run.inferior is None or run.superior is None:
            raise NotFoundInStoreError(f"run {run.id} reads one modality alone")
        names = (run.target, run.inferior, run.superior, run.split, run.fold, run.snapshot)
        if names not in self._known:
            self._known[names] = pair(
                self._at(run.snapshot),
                cohort=run.cohort,
                target=run.target,
                inferior=run.inferior,
                superior=run.superior,
                split=run.split,
                fold=run.fold,
                kinds=KINDS,
            )
        return self._known[names]


def guided_pairs_of(pairs: Pairs, section: Section) -> list[GuidedPairs]:
    """One for each fold and seed that has a trained G and at least two test pairs, in the order of fold and seed.

    Raises GuidestoreError where the codes are not there (a purge took them).
    """
    by_unit: dict[tuple[str, int, int], dict[int, Run]] = {}
    for run in section.runs:
        trained = run.status == "ok" and "guidance" in run.weights
        if trained and run.row in GUIDED_ROWS and run.control in ("", SHUFFLED):
            by_unit.setdefault(run.unit, {})[run.permutation] = run
    of_units = []
    for unit, by_permutation in sorted(by_unit.items()):
        run = by_permutation.get(-1)
        if run is None or run.inferior is None or run.superior is None:
            continue
        codes = pairs.of(run)
        rows = codes.rows("test", codes.is_pair)
        if len(rows) < 2:
            continue
        of_units.append(
            GuidedPairs(
                unit,
                tuple(codes.case_ids[row] for row in rows),
                codes.y[rows],
                codes.inferior_nd[rows],
                codes.superior_nd[rows],
                run.weights["guidance"],
                tuple(by_permutation[p].weights["guidance"] for p in sorted(by_permutation) if p >= 0),
            )
        )
    return of_units


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
