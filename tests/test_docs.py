"""The README's tour is run, and must print what it shows; in the gate on a fold of five."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from typer.main import get_command

from guidestore.flows.cli.main import app
from tests.commandline import guidestore

ROOT = Path(__file__).parents[1]
GUIDE = (
    "guidestore guide digits --inferior blurred/pixels --superior full/pixels --guidance ridge --decoder least_squares"
)
"""A command of the tour. It trains 215 heads."""
SWEEP = "digits/few-labels.yaml"
LESS = "folds: 0\nseeds: 0\npermutations: 2\n"
"""In place of five folds and two seeds."""
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/**/*.md"))]


def tour() -> str:
    """The README from the tour's headline to the next one."""
    return README.split("## Five minutes")[1].split("\n## ")[0]


def commands() -> list[str]:
    """Of all console blocks of the tour; a command goes on until the next ``$``."""
    blocks = re.findall(r"```console\n(.*?)```", tour(), re.DOTALL)
    return [command.strip() for block in blocks for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


def table_rows(text: str) -> dict[str, float]:
    """Input row -> mean balanced accuracy of a printed table."""
    found = re.findall(r"^((?:\S+ )*\S+) {2,}(\d\.\d{3})(?: ±| )", text, re.MULTILINE)  # without ± of one run
    return {row: float(value) for row, value in found}


def runs_of(text: str) -> dict[str, int]:
    """Input row -> how many runs it is the mean of."""
    return {row: int(runs) for row, runs in re.findall(r"^((?:\S+ )*\S+) {2,}\d\.\d{3}.* (\d+)$", text, re.MULTILINE)}


def words_and_numbers(text: str) -> tuple[list[str], list[float]]:
    """Whatever the width of its columns; shares in percent, which a last digit turns, are left out."""
    number = r"[-+]?\d+\.\d+"
    plain = re.sub(r"-{2,}|-?\d+%", " ", text)
    return re.sub(number, "#", plain).split(), [float(one) for one in re.findall(number, plain)]


@pytest.fixture(scope="module")
def tour_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def printed(tour_folder: Path) -> str:
    """Of one fold, with one permutation, in this process: a dozen others would import for longer than they work."""
    shown = []
    assert commands().count(GUIDE) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tour_folder)
        for command in commands():
            name, rest = re.findall(r"^(?:export )?(?:(\w+)=)?(.*)", command, re.DOTALL)[0]
            if not rest.startswith(("guidestore ", "$(guidestore ")):
                patch.setenv(name, rest)
                continue
            less = rest.replace(GUIDE, f"{GUIDE} --fold 0 --permutations 2")
            words = shlex.split(os.path.expandvars(less.removeprefix("$(").removesuffix(" | tail -1)")))
            done = guidestore(*words[1:])
            assert done.returncode == 0, done.stderr
            if name:
                patch.setenv(name, done.stdout.splitlines()[-1])
            shown.append(done.stdout)
            if words[1] == "example":
                sweep = Path(SWEEP).read_text(encoding="utf-8")
                Path(SWEEP).write_text(re.sub(r"(?m)^(seeds|permutations):.*\n", "", sweep) + LESS, encoding="utf-8")
    return "".join(shown)


@pytest.mark.usefixtures("printed")
def test_what_it_trained_is_as_good_as_scikit_learns_and_is_not_trained_again(tour_folder: Path) -> None:
    command = (*shlex.split(GUIDE)[1:], "--fold", 0, "--permutations", 2, "--format", "json")
    done = guidestore(*command, "--store", tour_folder / "digits/store")
    assert (
        "0 trained, 25 there already" in done.stderr
    )  # 3 rows, 6 references, 2 guided rows with 7 draws of controls each
    rows = {(row["row"], row["control"]): row for row in json.loads(done.stdout)}
    assert set(rows) == {
        *((row, "") for row in ("S+I", "S", "I", "R(I)")),
        *((row, control) for row in ("G(I)", "G(I)+I") for control in ("", "shuffled", "within class", "self")),
    }
    read = {name: pd.read_csv(tour_folder / f"digits/{name}.csv", index_col="case_id") for name in ("blurred", "full")}
    labels = pd.read_csv(tour_folder / "digits/labels.csv", index_col="case_id")["digit"]
    parts = pd.read_csv(tour_folder / "digits/splits.csv").query("fold == 0").set_index("case_id")["part"]
    for row, codes in (("I", read["blurred"]), ("S", read["full"]), ("S+I", pd.concat(read, axis=1))):
        train, test = codes[parts[codes.index] == "train"], codes[parts[codes.index] == "test"]
        said = RidgeClassifier(alpha=1e-6).fit(train.to_numpy(), labels[train.index]).predict(test.to_numpy())
        accuracy = balanced_accuracy_score(labels[test.index], said)
        assert rows[row, ""]["balanced_accuracy_mean"] == pytest.approx(accuracy, abs=0.04), row
    assert rows["G(I)", "shuffled"]["balanced_accuracy_mean"] < 0.3


def test_a_fold_of_the_tour_prints_nearly_the_table_that_it_shows(printed: str) -> None:
    shown, got = table_rows(tour()), table_rows(printed)
    assert {"S+I", "S", "I", "G(I)", "G(I), shuffled pairs", "G(I)+I", "G(I)+I, shuffled pairs"} <= set(shown)
    assert {row: got[row] for row in shown} == pytest.approx(shown, abs=0.1)


def test_the_tour_shows_as_many_draws_of_each_control_as_are_made(printed: str) -> None:
    """By five permutations on five folds, where the fold above has two on one."""
    table = tour().split("Is it guidance?")[0]
    assert runs_of(table) == {row: 25 if runs == 2 else 5 for row, runs in runs_of(printed.split("Is it")[0]).items()}


def test_the_tour_shows_both_ends(printed: str) -> None:
    """A fold says as much of label transfer as all five, and of guidance with all labels no gain."""
    for text in (tour(), printed):
        assert len(re.findall(r"^(?:no effect|cannot tell|hurts) +G\(I\)\+I ", text, re.MULTILINE)) == 1
        assert len(re.findall(r"^guidance helps +1 ", text, re.MULTILINE)) == 2  # on val, and on test
    first_screen = README.split("## Five minutes")[0]
    for end in re.findall(r"\| `\S+` \| (\S+ \[\S+ \S+\])", first_screen):
        assert end in tour()


@pytest.mark.slow
def test_the_tour_prints_the_table_it_shows(tmp_path: Path) -> None:
    """As a shell runs it: every word of its blocks, and every number nearly."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("GUIDESTORE_STORE", None)
    done = subprocess.run(
        ["bash", "-ec", "\n".join(commands())],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for block in re.findall(r"```text\n(.*?)```", tour(), re.DOTALL):
        words, numbers = words_and_numbers(block)
        printed = done.stdout[done.stdout.index(f"\n{block.split(':')[0]}: ") :]  # "cohort digits: " is another line
        got_words, got_numbers = words_and_numbers(printed)
        assert got_words[: len(words)] == words
        # Another processor may round a logistic fit differently.
        assert got_numbers[: len(numbers)] == pytest.approx(numbers, abs=0.01)


def test_the_tour_answers_and_predicts(printed: str) -> None:
    assert "digit-1796" in printed.split("champion ->")[1]
    assert "similarity" in printed


def test_every_command_of_the_readme_exists() -> None:
    text = guidestore("--help").stdout
    named = set(re.findall(r"guidestore ([a-z]+)", README)) - {"is", "keeps", "refuses"}
    for command in named:
        assert re.search(rf"\b{command}\b", text), command


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_files_that_a_page_links_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert links or page.name == "store-format.md"
    assert all((page.parent / link).exists() for link in links)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_have_as_many_columns_in_every_line(page: Path) -> None:
    """Else they are shown as plain text."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8")).replace("\\|", "")
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        first, *others = table.splitlines()
        assert {line.count("|") for line in others} == {first.count("|")}, first


def test_every_option_that_the_pages_name_exists() -> None:
    """Of each ``guidestore …`` in the README and docs: the command, and its options."""
    root = get_command(app)
    text = README + "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md")))
    checked = 0
    for line in re.findall(r"(?:\$ |`)guidestore ([^`\n]+)", text):
        words = line.replace("|", " ").split()
        command: Any = root
        while words and (inner := getattr(command, "get_command", lambda *_: None)(None, words[0])):
            command = inner
            words.pop(0)
        known = {option for parameter in command.params for option in parameter.opts}
        for option in (word for word in words if word.startswith("--")):
            assert option in known, f"guidestore {line}: {option}"
            checked += 1
    assert checked > 40


def test_the_guidance_model_of_contributing_works_from_its_file_alone(tmp_path: Path) -> None:
    """Dropped into heads/guidance it is there by name, learns, and is loaded again as it was."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "principal_regression.py").write_text(code, encoding="utf-8")
    use = f"""
import numpy as np
import guidestore.heads.guidance as folder
folder.__path__.append({str(tmp_path)!r})
from guidestore.heads.registry import build_guidance, guidance_names, load_guidance
assert "principal_regression" in guidance_names()
rng = np.random.default_rng(0)
z_inferior = rng.standard_normal((60, 8)).astype(np.float32)
z_superior = z_inferior @ rng.standard_normal((8, 5)).astype(np.float32) + 3
model = build_guidance("principal_regression", directions=8).fit(z_inferior[:40], z_superior[:40], seed=0)
np.testing.assert_allclose(model.predict(z_inferior[40:]), z_superior[40:], atol=1e-3)
again = load_guidance(model.config, model.tensors())
assert (again.predict(z_inferior) == model.predict(z_inferior)).all()
fewer = build_guidance("principal_regression", directions=2).fit(z_inferior[:40], z_superior[:40], seed=0)
assert abs(fewer.predict(z_inferior[40:]) - z_superior[40:]).max() > 0.1
"""
    done = subprocess.run([sys.executable, "-c", use], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    statements = [line for line in code.splitlines() if line.strip() and not line.strip().startswith('"""')]
    assert len(statements) <= 20


def test_the_blocks_of_the_library_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/library.md").read_text(encoding="utf-8"), re.DOTALL)
    exec("\n".join(blocks), {})
    assert {"digits-store", "my-head", "gains.pdf", "report.html"} <= {file.name for file in tmp_path.iterdir()}
