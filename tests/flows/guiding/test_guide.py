"""From stored codes to runs: completeness, resume, honesty of the parts, and the table."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.pairing import labels_of, parts_of
from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.results.evaluation import evaluate, tabulate
from guidestore.heads.references.train import REFERENCES
from guidestore.warehouse.runs import newest_runs
from tests.flows.conftest import GUIDE, Phantom


def test_every_row_and_control_is_there_with_predictions_of_val_and_test(encoded: Phantom) -> None:
    snapshot = encoded.opened.snapshot()
    runs = snapshot.rows("runs").to_pylist()
    assert {run["run"] for run in runs} == set(encoded.runs)
    plain = sorted((run["mode"], run["row"]) for run in runs if not run["control"])
    of_rows = [(m, r) for m in ("as-published", "matched") for r in ("S+I", "S", "I", "G(I)", "G(I)+I")]
    assert plain == sorted([*of_rows, *[("matched", "R(I)")] * len(REFERENCES)])
    assert {run["decoder"] for run in runs if run["row"] == "R(I)"} == set(REFERENCES)
    assert sum(run["control"] == "shuffled" for run in runs) == 4
    parts = parts_of(snapshot, "phantom", "cv2", 0)
    expected = {case for case, part in parts.items() if part in ("val", "test")}
    predictions = snapshot.rows("predictions").to_pylist()
    for run in runs:
        own = [row for row in predictions if row["run"] == run["run"]]
        assert {row["case_id"] for row in own} == expected
        assert all(parts[row["case_id"]] == row["part"] for row in own)
        assert all(math.isclose(sum(row["probabilities"]), 1, abs_tol=1e-9) for row in own)


def test_stored_metrics_follow_from_stored_predictions(encoded: Phantom) -> None:
    snapshot = encoded.opened.snapshot()
    classes, labels = labels_of(snapshot, "phantom", "class")
    metrics = {(r["run"], r["part"], r["metric"]): r["value"] for r in snapshot.rows("metrics").to_pylist()}
    predictions = snapshot.rows("predictions").to_pylist()
    for run in encoded.runs:
        own = [row for row in predictions if row["run"] == run and row["part"] == "test"]
        recalls = [
            np.mean([row["predicted"] == name for row in own if labels[row["case_id"]] == name])
            for name in classes
            if any(labels[row["case_id"]] == name for row in own)
        ]
        assert metrics[run, "test", "balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_a_second_guide_trains_nothing(phantom: Phantom) -> None:
    before = phantom.opened.snapshot().version
    report = guide(phantom.opened, GuideSettings(cohort="phantom", **GUIDE))
    assert (report.trained, report.existing) == (0, len(phantom.runs))
    assert phantom.opened.snapshot().version == before


def test_another_seed_is_another_run(phantom: Phantom) -> None:
    report = guide(
        phantom.opened,
        GuideSettings(cohort="phantom", **{**GUIDE, "permutations": 0, "modes": ("matched",)}, seeds=(7,)),
    )
    assert report.trained == 5 + len(REFERENCES)
    assert not set(report.runs) & set(phantom.runs)


def test_one_guidance_serves_both_guided_rows_and_both_modes(encoded: Phantom) -> None:
    runs = encoded.opened.snapshot().rows("runs").to_pylist()
    used = {json.loads(r["weights"])["guidance"] for r in runs if "G(" in r["row"] and not r["control"]}
    assert len(used) == 1


def test_imported_codes_have_no_classifier_and_unknown_targets_are_named(phantom: Phantom, tmp_path: Path) -> None:
    cases = phantom.opened.snapshot().rows("cases")["case_id"].to_pylist()
    file = tmp_path / "codes.csv"
    file.write_text("case_id,a,b\n" + "".join(f"{case},{i * i},{i % 3}\n" for i, case in enumerate(sorted(set(cases)))))
    import_codes(EmbeddingStore.create(phantom.store), file, cohort="phantom", modality="clinical", encoder="made")
    values = {"cohort": "phantom", **GUIDE, "superior": "clinical/made", "permutations": 0}
    with pytest.raises(InvalidInputError, match="use --mode matched"):
        guide(phantom.opened, GuideSettings(**{**values, "modes": ("as-published",)}))
    with pytest.raises(NotFoundInStoreError, match="no target 'age_group'; it has class"):
        guide(phantom.opened, GuideSettings(**values, targets=("age_group",)))


def test_the_table_holds_means_and_deviations_by_target() -> None:
    runs, values = [], {}
    scores = {"S+I": (0.9, 0.8), "S": (0.8, 0.8), "I": (0.5, 0.4), "G(I)": (0.4, 0.4), "G(I)+I": (0.7, 0.6)}
    for row, (first, second) in scores.items():
        for fold, value in enumerate((first, second)):
            run = f"{row}{fold}"
            runs.append(Run(run, "c", "class", "s", fold, row))
            values[run, "balanced_accuracy"] = value
    runs.append(replace(runs[0], id="other", target="grade"))
    rows = tabulate(runs, values)
    assert [row.row for row in rows if row.target == "grade"] == ["S+I"]
    guided = next(row for row in rows if row.row == "G(I)+I")
    assert guided.mean["balanced_accuracy"] == pytest.approx(0.65)
    assert guided.sd["balanced_accuracy"] == pytest.approx(np.std([0.7, 0.6], ddof=1))


def test_the_newest_of_equals_are_evaluated(encoded: Phantom) -> None:
    snapshot = EmbeddingStore.open(encoded.store).snapshot()
    newest = [run.id for run in newest_runs(snapshot, lambda run: run.cohort == "phantom").values()]
    assert set(newest) == set(encoded.runs)
    assert newest_runs(snapshot, lambda run: (run.row, run.mode) == ("S", "matched"))
    rows = evaluate(snapshot, newest).as_rows()
    assert {row["mode"] for row in rows} == {"as-published", "matched"}


def test_wrong_parameters_are_refused_in_a_sentence(encoded: Phantom) -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'ridge'"):
        guide(
            encoded.opened,
            GuideSettings(cohort="phantom", **{**GUIDE, "permutations": 0}, guidance="rigde"),
        )
