"""A guidance model of a newcomer: 15 lines beside the store, held to what ours are held to, and never mistaken."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.models.predict import predict
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.run import run_sweep
from guidestore.warehouse.runs import load_runs
from tests.commandline import guidestore
from tests.report_store import make_store

ROOT = Path(__file__).parents[3]
NEWCOMER = '''
import numpy as np

class Shrunk:
    """Least squares, shrunk towards the mean of z_S."""

    def __init__(self, by=0.5):
        self.by = by

    def fit(self, z_inferior, z_superior):
        self.mean_i, self.mean_s = z_inferior.mean(axis=0), z_superior.mean(axis=0)
        self.weight = np.linalg.lstsq(z_inferior - self.mean_i, z_superior - self.mean_s, rcond=1e-6)[0]

    def predict(self, z_inferior):
        return self.mean_s + self.by * (z_inferior - self.mean_i) @ self.weight
'''
CODES = {"cohort": "skin", "inferior": "clinical/made", "superior": "dermoscopy/made", "targets": ("PIG",)}
ASKED = {**CODES, "permutations": 1, "decoder": "logistic"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("own"), targets=())


class Mine:
    """The newcomer's folder, in which they work."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.path = folder, folder / "newcomer.py", list(sys.path)
        self.file.write_text(NEWCOMER)

    def as_in_a_fresh_process(self) -> None:
        """What was imported from the folder is forgotten, and the path to it."""
        sys.path[:] = self.path
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(self.folder):
                del sys.modules[name]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mine]:
    monkeypatch.chdir(tmp_path)
    made = Mine(tmp_path)
    yield made
    made.as_in_a_fresh_process()


def fresh(*arguments: object, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as its script starts it: without the working directory on the path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), path)))}
    command = [sys.executable, "-P", "-c", "from guidestore.flows.cli.process import run; run()", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def of_row(store: EmbeddingStore, runs: list[str], row: str) -> Run:
    (found,) = [run for run in load_runs(store.snapshot(), runs) if run.row == row and not run.control]
    return found


def test_a_newcomers_guidance_is_compared_predicts_elsewhere_and_is_another_run_once_changed(
    root: Path, mine: Mine
) -> None:
    flags = ("--inferior", "clinical/made", "--superior", "dermoscopy/made", "--target", "PIG", "--permutations", "1")
    named = ("--guidance", "newcomer:Shrunk", "--decoder", "logistic", "--store", root)
    # Five rows, the controls and a verdict, from the working directory.
    done = guidestore("guide", "skin", *flags, *named, "--format", "csv")
    assert done.returncode == 0, done.stderr
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {line["row"] for line in table} >= {"S+I", "S", "I", "G(I)", "G(I)+I"}
    store = EmbeddingStore.open(root)
    every = load_runs(store.snapshot(), store.snapshot().rows("runs")["run"].to_pylist())
    runs = [run for run in every if run.guidance.startswith("newcomer:Shrunk@")]
    assert {run.control for run in runs} == {"", "shuffled", "within class", "self"}
    guided = next(run for run in runs if run.row == "G(I)+I" and not run.control)
    assert [line["verdict"] for line in table if line["row"] == "G(I)+I" and line["verdict"]]

    # The same again trains nothing.
    again = guidestore("guide", "skin", *flags, *named)
    assert "runs: 0 trained" in again.stderr

    # A fresh process predicts with it, and says what it lacks where it cannot.
    case = store.snapshot().rows("cases", cohort="skin")["case_id"].to_pylist()[0]
    asked = ("predict", "--run", guided.id, "--case", case, "--store", root, "--format", "csv")
    expected = predict(store, guided.id, cases=[case]).as_rows()[0]
    told = fresh(*asked, cwd=mine.folder, path=str(mine.folder))
    assert told.returncode == 0, told.stderr
    (line,) = csv.DictReader(io.StringIO(told.stdout))
    assert float(line["p(absent)"]) == pytest.approx(expected["p(absent)"], abs=1e-6)
    mine.as_in_a_fresh_process()
    lacking = guidestore(*asked)
    assert lacking.returncode == 2
    assert "is code of the module newcomer, which is not on Python's path" in lacking.stderr

    # A comment is no change; what it does is: another run, and the old one is not predicted by new code.
    mine.file.write_text("# of mine\n" + NEWCOMER)
    same = guidestore("guide", "skin", *flags, *named)
    assert "runs: 0 trained" in same.stderr, same.stderr
    mine.as_in_a_fresh_process()
    mine.file.write_text(NEWCOMER.replace("self.by * (", "0.9 * self.by * ("))
    changed = guidestore("guide", "skin", *flags, *named)
    assert changed.returncode == 0, changed.stderr
    assert "runs: 10 trained, 9 there already" in changed.stderr
    stale = guidestore(*asked)
    assert stale.returncode == 2
    assert "has other code (source" in stale.stderr


def test_its_parameters_are_a_grid_in_a_sweep_file(root: Path, mine: Mine) -> None:
    store = EmbeddingStore.open(root)
    grid = {**CODES, "permutations": 0, "decoder": "sklearn.naive_bayes:GaussianNB"}
    models = [{"name": "newcomer:Shrunk", "by": [0.25, 1.0]}]
    report = run_sweep(store, SweepFile(name="own", controls=(), guidance=models, **grid))
    shown = {run.guidance for run in load_runs(store.snapshot(), report.runs) if run.guidance}
    assert {name.partition("(")[2] for name in shown} == {"by=0.25)", "by=1)"}
    assert run_sweep(store, SweepFile(name="own", controls=(), guidance=models, **grid)).trained == 0
    with pytest.raises(InvalidInputError, match="parameter 'bye' is unknown: did you mean 'by'"):
        run_sweep(store, SweepFile(name="own", guidance=[{"name": "newcomer:Shrunk", "bye": 1}], **grid))


def test_what_was_typed_into_a_session_is_never_served_again(root: Path) -> None:
    class Typed:
        def __init__(self, times: float = 1.0) -> None:
            self.times = times

        def fit(self, z_inferior: np.ndarray, z_superior: np.ndarray) -> None:
            self.mean = self.times * z_superior.mean(axis=0)

        def predict(self, z_inferior: np.ndarray) -> np.ndarray:
            return np.tile(self.mean, (len(z_inferior), 1))

    store, settings = EmbeddingStore.open(root), GuideSettings(**{**ASKED, "permutations": 0})
    first, second = (guide(store, settings, guidance=Typed(times=2.0)) for _ in range(2))
    assert first.trained >= second.trained > 0
    guided = [of_row(store, report.runs, "G(I)") for report in (first, second)]
    assert guided[0].id != guided[1].id
    assert "@unversioned-" in guided[0].guidance
    assert "(times=2)" in guided[0].guidance
    # In this session it can be used, as it is what was trained.
    case = store.snapshot().rows("cases", cohort="skin")["case_id"].to_pylist()[0]
    assert len(predict(store, guided[0].id, cases=[case]).case_ids) == 1
