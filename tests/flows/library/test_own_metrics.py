"""Metrics of one's own: against scikit-learn, in the verdict, in SQL, in the report, on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

import guidestore as gs
from guidestore.heads.metrics import Scored, asked_metric, drawn_metrics, metric_named
from guidestore.heads.significance.bootstrap import draw_counts
from tests.commandline import guidestore

SOURCE = '''
import numpy as np

class Recall:
    """Recall of one class."""
    title = "recall of <one>"
    def __init__(self, of=1, floor=0.0):
        self.of, self.floor = of, floor
    def __call__(self, y, said):
        picked = said.argmax(axis=1) == self.of
        return max(self.floor, picked[y == self.of].mean()) if (y == self.of).any() else None
    def drawn(self, counts_bn, y, said_rnk):
        right_rn = (said_rnk.argmax(axis=2) == self.of) & (y == self.of)
        with np.errstate(invalid="ignore"):
            share = (counts_bn @ right_rn.T) / (counts_bn @ (y == self.of))[:, None]
        return np.maximum(self.floor, share)

def errors(y, said):
    return float((said.argmax(axis=1) != y).mean())
errors.better = "lower"
'''
PAIR = {"inferior": "mri/mine", "superior": "slide/mine"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the module of metrics lies."""
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "metrics_of_mine.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("metrics_of_mine", None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> gs.Store:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    z_s = labels[:, None] * 2.0 + rng.normal(size=(80, 4))
    store = gs.open(tmp_path_factory.mktemp("store") / "store", create=True)
    ids = [f"case-{number}" for number in range(80)]
    with store.writing():
        store.add_codes("made", "mri", "mine", z_s[:, :2] + rng.normal(size=(80, 2)), ids)
        store.add_codes("made", "slide", "mine", z_s, ids)
        store.add_labels("made", {"case_id": ids, "grade": [f"g{label}" for label in labels]})
        store.add_split("made", folds=2)
    return store


def test_its_value_and_its_draws_are_those_of_the_function() -> None:
    def f1(y, said):
        return f1_score(y, said.argmax(axis=1), average="macro", zero_division=0)

    metric = metric_named(asked_metric(f1))
    rng = np.random.default_rng(1)
    labels, said = rng.integers(0, 3, 40), rng.dirichlet(np.ones(3), (2, 40))
    counts = draw_counts(40, 200, 0)
    drawn = metric.drawn(counts, labels, said)  # pyright: ignore[reportOptionalCall]
    for b in (0, 7, 200):
        rows = np.repeat(np.arange(40), counts[b].astype(int))
        for r in range(2):
            assert drawn[b, r] == f1(labels[rows], said[r][rows])
    assert metric.value(Scored(labels, said[0])) == drawn[0, 0]
    assert metric.name not in drawn_metrics()
    assert metric.name in drawn_metrics("classes", metric.name)


def test_it_never_writes_into_what_others_read() -> None:
    class Careless:
        """Share of cases; it leaves nothing as it was."""

        def __call__(self, y, said):
            y[:], said[:] = 0, 0
            return 1.0

        def drawn(self, counts_bn, y, said_rnk):
            told = np.ones((len(counts_bn), len(said_rnk)))
            counts_bn[:], y[:], said_rnk[:] = 0, 0, 0
            return told

    metric = metric_named(asked_metric(Careless()))
    given = draw_counts(20, 5, 0), np.arange(20) % 2, np.random.default_rng(0).dirichlet(np.ones(2), (3, 20))
    kept = [array.copy() for array in given]
    assert (metric.drawn(*given) == 1).all()  # pyright: ignore[reportOptionalCall]
    metric.value(Scored(given[1], given[2][0]))
    assert all(map(np.array_equal, given, kept))


def test_what_is_no_metric_is_refused_in_a_sentence() -> None:
    class Wrong:
        def __call__(self, y, said):
            return said

    class Drawn:
        def __call__(self, y, said):
            return 0.5

        def drawn(self, counts, truth, outputs):
            return np.full((len(counts), len(outputs)), 0.6)

    said = np.full((2, 4, 2), 0.5)
    labels = np.array([0, 1, 0, 1])
    for of, sentence in ((Wrong(), "failed"), (Drawn, "drawn gives 0.6.*itself is 0.5")):
        metric = metric_named(asked_metric(of))
        with pytest.raises(gs.InvalidInputError, match=sentence):
            metric.drawn(draw_counts(4, 200, 0), labels, said)  # pyright: ignore[reportOptionalCall]
    with pytest.raises(gs.InvalidInputError, match="is not called"):
        asked_metric(object())
    with pytest.raises(gs.InvalidInputError, match="did you mean 'auroc'"):
        asked_metric("aurok")
    with pytest.raises(gs.InvalidInputError, match="module nowhere"):
        asked_metric("nowhere:Metric")


def test_it_decides_and_is_kept_by_its_code(store: gs.Store, folder: Path, tmp_path: Path) -> None:
    from metrics_of_mine import Recall, errors  # pyright: ignore[reportMissingImports]

    asked = {**PAIR, "guidance": "ridge", "decoder": "least_squares", "permutations": 1, "folds": [0]}
    study = store.guide("made", **asked, metric=Recall(of=0))
    (name,) = set(study.effects()["metric"])
    assert name.startswith("metrics_of_mine:Recall@")
    assert name.endswith("(of=0)")
    kept = store.sql(f"SELECT run, value FROM metrics WHERE metric = '{name}' AND part = 'test'").df()
    assert len(kept) == len(study)
    for run, value in kept.itertuples(index=False):
        told = store.sql(f"SELECT label, predicted FROM predictions WHERE run = '{run}' AND part = 'test'").df()
        assert value == (told[told["label"] == "g0"]["predicted"] == "g0").mean()
    table = study.table().df()
    guided = table[(table["row"] == "G(I)+I") & (table["control"] == "")].iloc[0]
    inferior = table[table["row"] == "I"].iloc[0]
    assert guided["gain_over_i"] == pytest.approx(guided[f"{name}_mean"] - inferior[f"{name}_mean"], abs=1e-6)

    lower = store.evaluate("made", metric=errors).table().df()
    column = next(c for c in lower if c.startswith("metrics_of_mine:errors@") and c.endswith("_mean"))
    guided = lower[(lower["row"] == "G(I)+I") & (lower["control"] == "")].iloc[0]
    inferior = lower[lower["row"] == "I"].iloc[0]
    assert guided["gain_over_i"] == pytest.approx(inferior[column] - guided[column], abs=1e-6)  # less is a gain

    page = study.report(tmp_path / "report.html").read_text()
    assert "recall of &lt;one&gt;" in page
    assert "recall of <one>" not in page
    before = store.head
    store.guide("made", **asked, metric=Recall(of=0))
    assert store.sql(f"SELECT count(*) AS n FROM metrics WHERE metric = '{name}'")["n"] == [len(study)]
    assert store.head <= before + 1  # the look

    typed = store.evaluate("made", metric=lambda y, said: 0.5)
    assert typed.metric.split("@")[1].startswith("unversioned-")
    assert not store.sql("SELECT 1 AS x FROM metrics WHERE metric LIKE '%unversioned%'").rows()


def test_the_command_names_it_and_changed_code_is_another(
    store: gs.Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    asked = ("evaluate", "made", "--metric", "later:Recall", "--format", "csv", "--store", store.place)
    (folder / "later.py").write_text(SOURCE)
    first = guidestore(*asked)
    # Longer: by its size Python sees within a second that what it compiled is of other code.
    (folder / "later.py").write_text(SOURCE.replace("floor=0.0", "floor=1.00"))
    sys.modules.pop("later")  # as another process
    second = guidestore(*asked)
    sys.modules.pop("later")
    values = store.sql(
        "SELECT metric, avg(value) AS v FROM metrics WHERE metric LIKE 'later:%' GROUP BY 1 ORDER BY 2"
    ).rows()
    assert len(values) == 2
    assert values[1]["v"] == 1.0
    assert values[0]["metric"] in first.stdout
    assert values[1]["metric"] in second.stdout
    assert values[0]["metric"] not in second.stdout
