"""Values, survival and several labels of new cases: what predict says is what was stored of them, and of another cohort
what its own outcomes say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.models.on_cohort import predict_cohort
from guidestore.flows.models.predict import predict
from guidestore.warehouse.runs import load_runs
from tests.outcome_store import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """Heads of length, os and findings, and a cohort `twin` of half the cases under other names."""
    made = EmbeddingStore.open(make_store(tmp_path_factory.mktemp("outcomes"), cases=160))
    asked = {"cohort": "made", "inferior": "clinical/made", "superior": "dermoscopy/made", "guidance": "ridge"}
    for target, decoder in (("length", "ridge"), ("os", "ridge"), ("findings", "logistic")):
        told = asked | {"targets": (target,), "decoder": decoder, "permutations": 0, "device": "cpu"}
        guide(made, GuideSettings.model_validate(told))
    snapshot = made.snapshot()
    with made.begin("twin") as transaction:
        for kind in ("targets", "labels", "cases"):
            rows = snapshot.rows(kind, cohort="made").to_pylist()
            kept = [row | {"cohort": "twin"} for row in rows if row.get("case_id", "case-0000") < "case-0080"]
            other = [row | {"case_id": f"twin-{row['case_id']}"} if "case_id" in row else row for row in kept]
            transaction.write_rows(kind, other, cohort="twin")
        for key in snapshot.code_sets:
            codes = snapshot.codes(key)
            of_twin = replace(key, cohort="twin")
            other = tuple(f"twin-{case}" for case in codes.case_ids[:80])
            transaction.write_codes(CaseCodes(other, codes.codes_nd[:80], (), of_twin), input_digests=[["x"]] * 80)
    return made


def run_of(store: EmbeddingStore, target: str, row: str = "G(I)+I") -> str:
    rows = store.snapshot().rows("runs").to_pylist()
    return next(r["run"] for r in rows if (r["target"], r["row"], r["control"]) == (target, row, ""))


def stored(store: EmbeddingStore, run: str) -> dict[str, dict]:
    return {row["case_id"]: row for row in store.snapshot().rows("predictions").to_pylist() if row["run"] == run}


def test_a_value_comes_with_its_interval_and_unit(store: EmbeddingStore) -> None:
    run = run_of(store, "length")
    known = stored(store, run)
    said = predict(store, run, cases=sorted(known))
    for row in said.as_rows():
        of_case = known[row.pop("case_id")]
        assert list(row) == ["value (mm)", "low, 90%", "high, 90%"]
        assert list(row.values()) == pytest.approx([of_case[name] for name in ("value", "low", "high")])
        assert of_case["level"] == 0.9


def test_survival_is_a_risk_and_shares_at_times(store: EmbeddingStore) -> None:
    run = run_of(store, "os")
    known = stored(store, run)
    for row in predict(store, run, cases=sorted(known)).as_rows():
        of_case = known[row.pop("case_id")]
        assert row.pop("risk") == pytest.approx(of_case["risk"])
        assert list(row) == [f"survives {time:.6g} months" for time in of_case["times"]]
        shares = list(row.values())
        assert shares == pytest.approx(of_case["survival"])
        assert shares == sorted(shares, reverse=True)


def test_several_labels_have_a_probability_each(store: EmbeddingStore) -> None:
    run = run_of(store, "findings")
    known = stored(store, run)
    for row in predict(store, run, cases=sorted(known)).as_rows():
        assert list(row) == ["case_id", "p(effusion)", "p(nodule)"]
        assert [row["p(effusion)"], row["p(nodule)"]] == pytest.approx(known[row["case_id"]]["probabilities"])


@pytest.mark.parametrize(("target", "metric"), [("length", "r2"), ("os", "harrell_c"), ("findings", "macro_auroc")])
def test_another_cohort_is_held_against_its_own_outcomes(store: EmbeddingStore, target: str, metric: str) -> None:
    (run,) = load_runs(store.snapshot(), [run_of(store, target)])
    told = predict_cohort(store, [run], "twin")
    said = told.predictions[run.id]
    assert said.kind == run.kind
    assert len(said) == len(
        {
            row["case_id"]
            for row in store.snapshot().rows("labels", cohort="twin").to_pylist()
            if row["target"] == target
        }
    )
    assert np.isfinite(told.scores[run.id, metric])
    if target == "length":
        y, mean = said.labels, run.reference
        r2 = 1 - ((y - said.probabilities[:, 0]) ** 2).sum() / ((y - mean) ** 2).sum()
        assert told.scores[run.id, metric] == pytest.approx(r2)


def test_another_unit_is_refused(store: EmbeddingStore) -> None:
    (run,) = load_runs(store.snapshot(), [run_of(store, "os")])
    with pytest.raises(InvalidInputError, match="os is survival in months in cohort twin, and survival in days where"):
        predict_cohort(store, [replace(run, target_unit="days")], "twin")
