"""Frozen heads on another cohort: its codes of the same encoders, no fit, and what that cohort says of each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.medians import filled, fills_medians
from guidestore.embeddings.outcomes import KINDS, Target
from guidestore.embeddings.pairing import join, outcomes_of
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, CodeSetName, PairedCodes
from guidestore.flows.encoding.lookups import check_cohort
from guidestore.flows.models.predict import medians_of
from guidestore.flows.work.reporting import Progress, counted, no_progress
from guidestore.flows.work.threads import one_thread
from guidestore.heads.input_rows import input_row
from guidestore.heads.metrics import evaluate
from guidestore.heads.prediction import predict_row
from guidestore.warehouse.runs import Scores


@dataclass(frozen=True, slots=True)
class OnCohort:
    """What runs say of the labelled cases of a cohort that they were not trained on."""

    runs: tuple[Run, ...]
    """Those that could predict there."""
    scores: Scores
    predictions: Mapping[str, RunPredictions]
    notes: tuple[str, ...]


def predict_cohort(
    store: EmbeddingStore, runs: Iterable[Run], cohort: str, progress: Progress = no_progress
) -> OnCohort:
    """Predicts all labelled cases of `cohort` by these runs of another one, from its codes of their encoders.

    Rows that need a code set which the cohort lacks are left out, and so are runs that diverged, and cases that the
    heads may have been trained on: under the same id, with the same code. Raises NotFoundInStoreError where the cohort
    lacks the target or the codes of all, InvalidInputError where it is that of the runs or has other classes.
    """
    snapshot = store.snapshot()
    cases = _Cases(store, snapshot, cohort)
    kept, scores, predictions, notes = [], {}, {}, {}
    with one_thread():
        runs = [run for run in runs if not run.diverged]
        for run in counted(runs, len(runs), f"predicting {cohort}", progress):
            if run.cohort == cohort:
                raise InvalidInputError(f"run {run.id[:12]} was trained on cohort {cohort}; name another cohort")
            paired = cases.read_by(run)
            notes |= dict.fromkeys(issue.sentence for issue in paired.issues if issue.kind != "without superior")
            twins = cases.twins_of(run)
            notes |= dict.fromkeys(twins.notes)
            usable = input_row(run.row).has(paired) & paired.has_label
            usable &= ~np.isin(paired.case_ids, twins.same)
            if usable.sum() < 2:
                notes[f"row {run.row} has fewer than 2 labelled cases of {cohort} with its codes, and is left out"] = (
                    None
                )
                continue
            rows = np.flatnonzero(usable)
            codes = (paired.inferior_nd[rows], paired.superior_nd[rows])
            outputs_nk = predict_row(run.row, _components(snapshot, run), *codes, horizon=run.reference)
            y = paired.y[rows]
            case_ids = tuple(paired.case_ids[row] for row in rows)
            of: dict[str, Any] = {"kind": run.kind, "reference": run.reference}
            predictions[run.id] = RunPredictions(run.id, run.unit, case_ids, y, outputs_nk, **of)
            values = evaluate(y, outputs_nk, run.classes, **of)
            scores |= {(run.id, metric): value for metric, value in values.items()}
            kept.append(run)
    if not kept:
        raise NotFoundInStoreError(f"no run can predict cohort {cohort}: {'; '.join(notes) or 'there are none'}")
    return OnCohort(tuple(kept), scores, predictions, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Twins:
    """Cases whose code the cohort that heads were trained on has too."""

    same: tuple[str, ...] = ()
    """Under the same id: the heads may have been trained on them."""
    notes: tuple[str, ...] = ()


class _Cases:
    """The cases of a cohort as heads read them, all of its parts."""

    def __init__(self, store: EmbeddingStore, snapshot: Snapshot, cohort: str) -> None:
        self._store, self._snapshot, self._cohort = store, snapshot, cohort
        self._known: dict[Any, PairedCodes] = {}
        self._twins: dict[Any, _Twins] = {}
        self._parts = dict.fromkeys(snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist(), "test")
        check_cohort(snapshot, cohort)
        if not self._parts:
            raise NotFoundInStoreError(f"cohort {cohort} has no cases; add them with `guidestore cohort add`")

    def read_by(self, run: Run) -> PairedCodes:
        """Codes of the encoders of a run, and labels of its target, whose classes must be those that the run knows."""
        asked = (run.target, run.classes, run.inferior, run.superior, run.split, run.fold)
        if asked not in self._known:
            target, outcomes = outcomes_of(self._snapshot, self._cohort, run.target, KINDS)
            if (target.kind, target.unit) != (run.kind, run.target_unit):
                both = ((target.kind, target.unit), (run.kind, run.target_unit))
                theirs, ours = (" in ".join(filter(None, of)) for of in both)
                raise InvalidInputError(
                    f"{run.target} is {theirs} in cohort {self._cohort}, and {ours} where the heads were trained; give "
                    "both cohorts one target"
                )
            strange = sorted({*target.names} - {*run.classes})
            if target.has_classes:
                strange = sorted({str(name) for name in outcomes.values()} - {*run.classes})
            if strange:
                raise InvalidInputError(
                    f"cohort {self._cohort} has the class {strange[0]!r} of {run.target}, which the heads do not know "
                    f"({', '.join(run.classes)}); mend its labels, or evaluate heads of the same classes"
                )
            self._known[asked] = join(
                self._codes(run, run.inferior, needed=True),
                self._codes(run, run.superior, needed=False),
                parts=self._parts,
                outcomes=outcomes,
                target=Target(run.target, run.kind, run.classes, run.target_unit),
                cohort=self._cohort,
                split="every case",
                fold=0,
                snapshot=self._snapshot.version,
            )
        return self._known[asked]

    def twins_of(self, run: Run) -> _Twins:
        """What the cohort shares with that of a run, by the codes that the run reads of I, or else of S."""
        name = run.inferior or run.superior
        asked = (run.cohort, name)
        if asked not in self._twins:
            ours, theirs = (self._stored(cohort, name) for cohort in (self._cohort, run.cohort))
            known: dict[bytes, set[str]] = {}
            for case, code in zip(theirs.case_ids, theirs.codes_nd, strict=True):
                known.setdefault(code.tobytes(), set()).add(case)
            shared = [
                (case, case in known[key])
                for case, code in zip(ours.case_ids, ours.codes_nd, strict=True)
                if (key := code.tobytes()) in known
            ]
            same = sorted({case for case, under_its_id in shared if under_its_id})
            alike = {case for case, under_its_id in shared if not under_its_id} - {*same}
            what = f"code of {name.within}" if name else "code"
            left_out = (
                f"{len(same)} of the cases of {self._cohort} are cases of {run.cohort}, where the heads were trained "
                f"(same id, same {what}), and are left out"
            )
            suspect = (
                f"{len(alike)} of the cases of {self._cohort} have the very {what} of a case of {run.cohort} with "
                "another id; where they are the same patients, these scores are too good: take them out"
            )
            notes = (left_out,) * bool(same) + (suspect,) * bool(alike)
            self._twins[asked] = _Twins(tuple(same), notes)
        return self._twins[asked]

    def _stored(self, cohort: str, name: CodeSetName | None) -> CaseCodes:
        """A cohort's codes of an encoder as they are stored; none where it has none."""
        found = [key for key in self._snapshot.code_sets if name and self._is_of(key, name, cohort)]
        return self._snapshot.codes(found[0]) if found else CaseCodes((), np.zeros((0, 1), np.float32))

    def _codes(self, run: Run, name: CodeSetName | None, *, needed: bool) -> CaseCodes:
        """The cohort's codes of that encoder, with what is missing filled in as the run was trained; none where it has
        none and they are not needed."""
        codes = self._stored(self._cohort, name)
        if codes.key and name:
            if np.isnan(codes.codes_nd).any() and fills_medians(self._snapshot, codes.key):
                codes = filled(codes, medians_of(self._store, run, self._snapshot.code_set(name)))
            return codes
        if needed and name:
            raise NotFoundInStoreError(
                f"cohort {self._cohort} has no codes of {name.within}, which the heads read; encode or import them "
                "with that encoder"
            )
        return codes

    @staticmethod
    def _is_of(key: CodeSetKey, name: CodeSetName, cohort: str) -> bool:
        same = (key.cohort, key.modality, key.encoder, key.kind) == (cohort, name.modality, name.encoder, "codes")
        return same and key.encoder_digest.startswith(name.digest)


def _components(snapshot: Snapshot, run: Run) -> dict[str, Any]:
    components = {}
    for role, artifact in run.weights.items():
        tensors, entry = snapshot.weights(artifact)
        components[role] = (entry.meta["config"], tensors)
    return components
