"""Real inputs that once came in wrong, a folder each, through the command line: exit code, sentence and right value.

A row per command line that matters: to add a folder, add its rows. Those of images are tested where ELSEWHERE says. The
folders lie in ``odd/`` of GUIDESTORE_TEST_DATA; each has a README that says what is odd.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from guidestore.embeddings.pairing import labels_of
from guidestore.embeddings.store import EmbeddingStore
from tests.commandline import Done, guidestore

ROOT = Path(__file__).parents[3]
ODD = Path(os.environ.get("GUIDESTORE_TEST_DATA", ROOT.parent / "shared" / "data")) / "odd"
ELSEWHERE = {
    "01-bad-header-aborts-encode": "encoding/test_odd_images.py",
    "02-damaged-gz-is-encoded": "encoding/test_odd_images.py",
    "04-corrected-mpp-is-ignored": "encoding/test_identity.py",
    "09-one-odd-suffix-stops-all-photographs": "encoding/test_odd_images.py",
    "12-no-qform-no-sform": "encoding/test_odd_images.py",
}
"""Folder -> the test, beside this folder, that has it through the command line."""
IMPORT = ("import", "--cohort", "c", "--modality", "m", "--encoder", "e")
LABELS = ("cohort", "add", "manifest", "c", "--labels")
BASE = (*IMPORT, "base.csv")


@dataclass(frozen=True)
class Odd:
    """Commands on the files of a folder, of which the last one is judged; words that name files there become paths."""

    folder: str
    commands: tuple[tuple[str, ...], ...]
    code: int
    says: str = ""
    value: Callable[[EmbeddingStore, Path], bool] = lambda store, folder: True
    """Whether what the store then holds is right."""


def same_codes(file: str, *columns: str) -> Callable[[EmbeddingStore, Path], bool]:
    """Whether the codes are those that pandas reads."""

    def check(store: EmbeddingStore, folder: Path) -> bool:
        reader: Any = pd.read_parquet if file.endswith(".parquet") else pd.read_csv
        frame = reader(folder / file).set_index("case_id").sort_index()[list(columns or ("f0", "f1", "f2", "f3"))]
        (key,) = store.snapshot().code_sets
        codes = store.snapshot().codes(key)
        return codes.case_ids == tuple(frame.index) and np.array_equal(codes.codes_nd, frame.to_numpy(np.float32))

    return check


def grades(**counts: int) -> Callable[[EmbeddingStore, Path], bool]:
    """Whether the classes, and their cases, are these."""

    def check(store: EmbeddingStore, folder: Path) -> bool:
        classes, labels = labels_of(store.snapshot(), "c", "grade")
        return classes == tuple(sorted(counts)) and Counter(labels.values()) == counts

    return check


INDEX, WORDS, AGAIN, DEFECTS = (
    "03-pandas-index-becomes-a-code",
    "06-missing-words-are-classes",
    "07-corrected-codes-drop-the-case",
    "13-import-defects",
)
MISSING = {"NA": "NA", "nan": "nan", "na2": "N/A", "none": "None", "null": "NULL", "dot": ".", "q": "?", "dash": "-"}
ROWS = [
    Odd(INDEX, (BASE,), 0, "4 dimensions", same_codes("base.csv")),
    *(
        Odd(INDEX, ((*IMPORT, name),), 0, "is a saved index or has no name, and left out", same_codes(name))
        for name in ("pdindex.csv", "pdindex.parquet", "trail.csv")
    ),
    Odd(INDEX, (BASE, (*LABELS, "lab.csv"), (*IMPORT, "withlabel.csv", "--encoder-version", "2")), 2, "--drop 'grade'"),
    Odd(INDEX, ((*IMPORT, "withlabel.csv"), (*LABELS, "lab.csv")), 2, "column grade of c/m/e@"),
    Odd(INDEX, ((*IMPORT, "withlabel.csv", "--drop", "grade"),), 0, "4 dimensions", same_codes("withlabel.csv")),
    *(
        Odd(WORDS, (BASE, (*LABELS, f"lab_{name}.csv")), 0, f"({word} 3)", grades(GBM=29, LGG=28))
        for name, word in (*MISSING.items(), ("m9", "-999"))
    ),
    *(
        Odd(WORDS, (BASE, (*LABELS, f"lab_{name}.csv")), 2, "may be one class; --merge 'grade=")
        for name in ("case", "float", "inner", "nfd")
    ),
    Odd(WORDS, (BASE, (*LABELS, "lab_case.csv", "--merge", "grade")), 0, "'gbm' (4) is 'GBM'", grades(GBM=30, LGG=30)),
    Odd(WORDS, (BASE, (*LABELS, "lab_NA.csv"), (*LABELS, "lab.csv")), 0, "3 labels", grades(GBM=30, LGG=30)),
    *(
        Odd(AGAIN, (BASE, (*IMPORT, name)), 2, f"{cases}: --replace supersedes them", same_codes("base.csv"))
        for name, cases in (("fixed1.csv", "1 case (such as P005)"), ("fixedall.csv", "60 cases (such as P000)"))
    ),
    Odd(AGAIN, (BASE, (*IMPORT, "fixed1.csv", "--replace")), 0, "1 of them replace others", same_codes("fixed1.csv")),
    Odd(AGAIN, (BASE, (*IMPORT, "fixedall.csv", "--replace")), 0, "60 of them", same_codes("fixedall.csv")),
    Odd(AGAIN, ((*IMPORT, "dup.csv"),), 2, "comes twice with different values"),
    Odd(AGAIN, ((*IMPORT, "noneid.parquet"),), 2, "row 1, column case_id has no id"),
    Odd(DEFECTS, ((*IMPORT, "dupcol.csv"),), 2, "has the column 'f0' twice"),
    *(
        Odd(DEFECTS, ((*IMPORT, name),), 2, "a column of codes is a list of numbers")
        for name in ("liststr.parquet", "nestragged.parquet", "struct.parquet")
    ),
]


def run(folder: Path, store: Path, command: tuple[str, ...]) -> Done:
    words = [folder / word if word and (folder / word).is_file() else word for word in command]
    return guidestore(*words, "--store", store)


@pytest.mark.skipif(not ODD.is_dir(), reason="GUIDESTORE_TEST_DATA has no folder odd")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.folder[:2]}-{'-'.join(map(str, row.commands[-1][-2:]))}")
def test_an_odd_input(row: Odd, tmp_path: Path) -> None:
    for command in row.commands[:-1]:
        assert run(ODD / row.folder, tmp_path / "store", command).returncode == 0
    done = run(ODD / row.folder, tmp_path / "store", row.commands[-1])
    assert done.returncode == row.code, done.stderr
    assert row.says in done.stdout + done.stderr
    assert row.code == 0 or len(done.stderr.strip().splitlines()) == 1, "a refusal is one sentence"
    if row.code and len(row.commands) == 1:
        assert not (tmp_path / "store").exists(), "what was refused leaves no store"
    else:
        assert row.value(EmbeddingStore.open(tmp_path / "store"), ODD / row.folder)


@pytest.mark.skipif(not ODD.is_dir(), reason="GUIDESTORE_TEST_DATA has no folder odd")
def test_every_folder_has_a_row() -> None:
    there = {folder.name for folder in ODD.iterdir() if folder.is_dir()}
    assert there <= ELSEWHERE.keys() | {row.folder for row in ROWS}
    for folder, test in ELSEWHERE.items():
        assert folder in (Path(__file__).parents[1] / test).read_text()
