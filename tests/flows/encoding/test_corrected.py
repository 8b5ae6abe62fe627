"""Heads that were trained on codes or labels which were superseded since say so wherever they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from guidestore.embeddings.store import EmbeddingStore
from tests.commandline import Done, guidestore

CASES = [f"c{i:02}" for i in range(24)]


class Hospital:
    """A cohort whose tables are corrected."""

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        self.labels = pd.DataFrame({"y": ["np"[i % 2] for i in range(24)]}, CASES)
        self.codes = {
            name: pd.DataFrame(rng.normal(size=(24, 3)) + (np.arange(24) % 2)[:, None], CASES, list("abc"))
            for name in ("mri", "slide")
        }
        for name in self.codes:
            self.bring(name)
        self.label()
        self.run("cohort", "split", "c", "--folds", 2)
        self.guide()
        self.run("alias", "champion", self.newest())
        self.run("tag", "before")

    def run(self, *words: object, fails: bool = False) -> Done:
        done = guidestore(*words, "--store", self.folder / "store")
        assert (done.returncode != 0) == fails, done.stderr
        return done

    def bring(self, name: str, *more: object) -> None:
        self.codes[name].to_csv(self.folder / f"{name}.csv", index_label="case_id")
        self.run("import", self.folder / f"{name}.csv", "--cohort", "c", "--modality", name, "--encoder", "e", *more)

    def label(self, *more: object) -> Done:
        self.labels.to_csv(self.folder / "y.csv", index_label="case_id")
        return self.run("cohort", "add", "manifest", "c", "--labels", self.folder / "y.csv", *more)

    def guide(self, *, fails: bool = False) -> Done:
        heads = ("--guidance", "ridge", "--decoder", "logistic", "--permutations", 1, "--fold", 0)
        return self.run("guide", "c", "--inferior", "mri/e", "--superior", "slide/e", *heads, fails=fails)

    def newest(self) -> str:
        rows = EmbeddingStore.open(self.folder / "store").snapshot().rows("runs").to_pylist()
        return max((row["created_at"], row["run"]) for row in rows if row["row"] == "G(I)" and not row["control"])[1]

    def warnings(self, *words: object) -> list[str]:
        done = self.run(*words)
        return [line for line in (done.stdout + done.stderr).splitlines() if "superseded" in line]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return Hospital(tmp_path_factory.mktemp("hospital"))


def test_a_stale_head_is_never_used_in_silence(hospital: Hospital) -> None:
    predict = ("predict", "--run", "champion", "--case", "c00")
    assert hospital.warnings(*predict) == hospital.warnings("evaluate", "c") == [], "nothing was corrected"
    hospital.codes["mri"].iloc[:3] += 5
    hospital.bring("mri", "--replace")
    (said,) = hospital.warnings(*predict)
    assert "1 run was trained before 3 codes of mri/e were superseded, on the old ones" in said
    hospital.labels.iloc[4:6] = [["p"], [None]]
    hospital.label("--replace")
    (said,) = hospital.warnings("evaluate", "c")
    assert "19 runs were trained before 2 labels of y and 3 codes of mri/e were superseded" in said
    assert hospital.warnings("evaluate", "c", "--at", "before") == [], "there they are as they were"
    page = hospital.folder / "report.html"
    hospital.run("report", "c", "--out", page)
    assert page.read_text().count("2 labels of y and 3 codes of mri/e were superseded") == 1
    folder = hospital.folder / "exported"
    assert len(hospital.warnings("export-model", "champion", "--output", folder)) == 1
    assert "were superseded" in (folder / "README.md").read_text()
    hospital.guide()
    assert hospital.warnings("evaluate", "c") == [], "trained anew"
    refused = hospital.run("compare", "champion", hospital.newest(), fails=True)
    assert "case c04 has label 1 in run b" in refused.stderr
    hospital.codes["mri"] = pd.concat([hospital.codes["mri"], hospital.codes["mri"].iloc[:1].set_axis(["new"])])
    hospital.bring("mri")
    hospital.run("compact")
    assert hospital.warnings("evaluate", "c") == [], "a case that came, and files that were joined, correct nothing"


def test_classes_that_lost_all_labels_are_said_and_how_to_go_on(hospital: Hospital) -> None:
    """The report of the old runs shows the labels that they were trained on."""
    hospital.labels["y"] = hospital.labels["y"].map({"n": "none", "p": "some"})
    renamed = hospital.label("--replace")
    assert "no case has these classes any more: y n, p; they stay" in renamed.stderr
    refused = hospital.guide(fails=True).stderr
    assert "no case is n or p at all, so take the target out (`guidestore cohort remove c --target y`)" in refused
    hospital.run("report", "c", "--out", hospital.folder / "old.html")
    hospital.run("cohort", "remove", "c", "--target", "y", "--yes")
    hospital.label()
    hospital.guide()
    assert hospital.warnings("evaluate", "c") == []
