"""Two stored runs compared: the figures are those of the stored metrics, and the cases those that changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.results.two_runs import compare_runs
from guidestore.flows.results.two_snapshots import compare_snapshots
from guidestore.flows.sweeps.file import read_sweep
from guidestore.flows.sweeps.ranking import rank_sweep
from guidestore.flows.sweeps.two_sweeps import compare_sweeps
from guidestore.heads.metrics import drawn_metrics
from guidestore.warehouse.runs import all_runs, load_scores
from tests.commandline import guidestore
from tests.flows.conftest import GUIDE, Phantom
from tests.report_store import make_store


def run_of(phantom: Phantom, row: str, control: str = "", mode: str = "matched") -> str:
    rows = phantom.opened.snapshot().rows("runs").to_pylist()
    wanted = (row, control, mode)
    return next(found["run"] for found in rows if (found["row"], found["control"], found["mode"]) == wanted)


def test_the_figures_are_those_that_are_stored(encoded: Phantom) -> None:
    a, b = run_of(encoded, "I"), run_of(encoded, "S")
    store = encoded.opened
    found = compare_runs(store, a[:12], b)
    snapshot = store.snapshot()
    metrics = {
        (row["run"], row["metric"]): row["value"]
        for row in snapshot.rows("metrics").to_pylist()
        if row["part"] == "test"
    }
    for row in found.as_rows():
        assert row["a"] == pytest.approx(metrics[a, row["metric"]])
        assert row["b"] == pytest.approx(metrics[b, row["metric"]])
        assert row["gain"] == pytest.approx(row["b"] - row["a"])
        assert row["low"] <= row["gain"] <= row["high"]
        assert 0 <= row["p"] <= 1
        assert (row["p"] <= 0.05) == (row["low"] > 0 or row["high"] < 0)
    said = {
        (row["run"], row["case_id"]): (row["predicted"], row["label"])
        for row in snapshot.rows("predictions").to_pylist()
        if row["part"] == "test"
    }
    cases = {case for run, case in said if run == a}
    assert found.n_cases == len(cases)
    changed = {case for case in cases if said[a, case][0] != said[b, case][0]}
    assert {case.case_id for case in found.changed} == changed
    better = sum(said[b, case][0] == said[b, case][1] != said[a, case][0] for case in cases)
    assert found.mcnemar.only_b == better


def test_the_command_prints_it(encoded: Phantom) -> None:
    a, b = run_of(encoded, "I"), run_of(encoded, "G(I)+I", "shuffled")
    done = guidestore("compare", a, b, "--store", encoded.store)
    assert done.returncode == 0, done.stderr
    assert "G(I)+I, shuffled pairs 0" in done.stdout
    assert "McNemar (exact)" in done.stdout
    rows = json.loads(guidestore("compare", a, b, "--store", encoded.store, "--format", "json").stdout)
    assert [row["metric"] for row in rows] == list(drawn_metrics())


def test_runs_that_are_no_pair_are_refused(phantom: Phantom) -> None:
    a = run_of(phantom, "I")
    with pytest.raises(InvalidInputError, match="the same run"):
        compare_runs(EmbeddingStore.open(phantom.store), a, a[:10])
    with pytest.raises(NotFoundInStoreError, match="no run"):
        compare_runs(phantom.opened, a, "champion")
    store = phantom.opened
    codes = store.snapshot().codes(store.snapshot().code_set("phantom/mri_all/densenet3d"))
    file = Path(phantom.store).parent / "codes.csv"
    header = "case_id," + ",".join(f"c{i}" for i in range(codes.codes_nd.shape[1]))
    lines = [f"{case},{','.join(map(str, code))}" for case, code in zip(codes.case_ids, codes.codes_nd, strict=True)]
    file.write_text("\n".join([header, *lines]) + "\n")
    imported = ("--cohort", "phantom", "--modality", "mri_all", "--encoder", "mine", "--store", phantom.store)
    assert guidestore("import", file, *imported).returncode == 0
    other = guide(
        phantom.opened,
        GuideSettings(
            cohort="phantom",
            **{**GUIDE, "inferior": "mri_all/mine", "superior": "mri_all/mine", "folds": (1,), "modes": ("matched",)},
            guidance="ridge",
            decoder="logistic",
        ),
    )
    with pytest.raises(InvalidInputError, match="0 test cases in common"):
        compare_runs(EmbeddingStore.open(phantom.store), a, other.runs[2])


def _import_noisy(phantom: Phantom, version: str, noise: float) -> str:
    """mri_all's codes of fold 0 under the name noisy, with noise; their digest."""
    snapshot = phantom.opened.snapshot()
    codes = snapshot.codes(snapshot.code_set("phantom/mri_all/densenet3d"))
    noisy_nd = codes.codes_nd + noise * np.random.default_rng(0).normal(size=codes.codes_nd.shape)
    file = phantom.store.parent / f"noisy{version}.npz"
    np.savez(file, case_id=np.array(codes.case_ids), codes=noisy_nd.astype(np.float32))
    report = import_codes(
        phantom.opened,
        file,
        cohort="phantom",
        modality="mri_all",
        encoder="noisy",
        version=version,
    )
    return report.code_set.encoder_digest[:12]


def test_two_snapshots_are_compared_head_by_head(phantom: Phantom) -> None:
    """The same heads on a second version of an encoder, whose codes are noise."""
    store = phantom.opened
    before = store.snapshot().version
    store.tag("before")
    settings = {"cohort": "phantom", **GUIDE, "modes": ("matched",), "guidance": "ridge", "decoder": "logistic"}
    first, second = (_import_noisy(phantom, version, noise) for version, noise in (("1", 0.0), ("2", 1e4)))
    with pytest.raises(InvalidInputError, match=r"no head was trained anew .*the same in both"):
        compare_snapshots(store, before, store.snapshot().version)
    guide(store, GuideSettings(**{**settings, "inferior": f"mri_all/noisy@{first}"}))
    middle = store.snapshot().version
    guide(store, GuideSettings(**{**settings, "inferior": f"mri_all/noisy@{second}"}))
    found = compare_snapshots(store, middle, store.snapshot().version)
    rows = {row["row"]: row for row in found.as_rows()}
    of_self = ("S made of I: principal directions", "S made of I: random features")
    controls = ("shuffled pairs", "pairs shuffled within class", *of_self)
    guided = {f"{row}, {control}" for row in ("G(I)", "G(I)+I") for control in controls}
    assert rows.keys() == {"S+I", "S", "I", "R(I)", "G(I)", "G(I)+I"} | guided
    assert rows["S"]["gain"] == 0
    assert rows["I"]["b"] < rows["I"]["a"]
    for row in found.as_rows():
        assert row["low"] <= row["gain"] <= row["high"]
        assert row["gain"] == pytest.approx(row["b"] - row["a"])
    changed = [case for case in found.changed_rows() if case["row"] == "I"]
    assert changed
    assert all(case["a says"] != case["b says"] for case in changed)
    assert not any(case["row"] == "S" for case in found.changed_rows())
    assert any("the same in both" in note for note in found.notes)
    done = guidestore("compare", "before", middle, "--store", phantom.store)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = guidestore("compare", middle, store.snapshot().version, "--store", phantom.store, "--format", "json")
    assert [row["row"] for row in json.loads(done.stdout)] == [row["row"] for row in found.as_rows()]
    with pytest.raises(NotFoundInStoreError, match="no snapshot 99999"):
        compare_snapshots(store, middle, 99999)
    with pytest.raises(InvalidInputError, match="the same snapshot"):
        compare_snapshots(store, "before", before)


GRID = {
    "cohort": "skin",
    "targets": ["DIAG", "PIG"],
    "inferior": "clinical/made",
    "superior": "dermoscopy/made",
    "decoder": ["logistic"],
    "seeds": [0, 1],
    "permutations": 1,
}


PAIR = {"I": ("I", ""), "G(I)+I": ("G(I)+I", "ridge")}
"""Row and guidance of two heads."""


def _sweep(folder: Path, name: str, **changes: object) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps({**GRID, **changes}))  # JSON is YAML
    return file


@pytest.fixture(scope="module")
def two_sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, and the files of two sweeps that were run on it."""
    folder = tmp_path_factory.mktemp("sweeps")
    store = make_store(folder, targets=())
    for name, guidance in (("narrow", ["ridge"]), ("wide", ["ridge", "pls", "cca"])):
        done = guidestore("sweep", "run", _sweep(folder, name, guidance=guidance), "--store", store)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def sweeps(two_sweeps: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Copies: the store, and the two files."""
    folder = Path(shutil.copytree(two_sweeps, tmp_path / "sweeps"))
    return folder / "store", folder / "narrow.yaml", folder / "wide.yaml"


def test_two_sweeps_are_compared_by_what_each_chose_on_val(sweeps: tuple[Path, Path, Path]) -> None:
    root, narrow, wide = sweeps
    store = EmbeddingStore.open(root)
    found = compare_sweeps(store, "narrow", "wide")
    assert [row["target"] for row in found.as_rows()] == ["DIAG", "PIG"]
    ranked = {side: rank_sweep(store, read_sweep(file)) for side, file in (("a", narrow), ("b", wide))}
    for row, target in zip(found.as_rows(), ("DIAG", "PIG"), strict=True):
        for side in ("a", "b"):
            best = next(one for one in ranked[side] if one.effect.head.target == target)
            assert best.effect.score is not None
            assert row[side] == pytest.approx(best.effect.score.value)
            assert row[f"head {side}"] == best.effect.head.name
        assert row["gain"] == pytest.approx(row["b"] - row["a"])
        assert row["low"] <= row["gain"] <= row["high"]
        assert row["p"] <= row["p_holm"] <= 1
        assert row["changed"] == sum(case["target"] == target for case in found.changed_rows())
    assert all(case["a says"] != case["b says"] for case in found.changed_rows())
    assert any("val chose both" in note for note in found.notes)
    of_files = compare_sweeps(store, read_sweep(narrow), read_sweep(wide))
    assert of_files == found
    with pytest.raises(InvalidInputError, match=r"best of sweep narrow .* `guidestore sweep show FILE --test \d`"):
        compare_sweeps(store, "narrow", "wide", part="test")
    for file in (narrow, wide):
        rank_sweep(store, read_sweep(file), chosen=12)
    assert {row["cases"] for row in compare_sweeps(store, "narrow", "wide", part="test").as_rows()} == {36}


def test_pooled_runs_stand_for_their_heads_over_all_seeds(two_sweeps: Path) -> None:
    store = EmbeddingStore.open(two_sweeps / "store")
    snapshot = store.snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "DIAG" and not run.control]
    sides = {row: [run for run in runs if (run.row, run.guidance) == of] for row, of in PAIR.items()}
    assert [len(side) for side in sides.values()] == [2, 2]
    a, b = (side[1].id for side in sides.values())
    alone, pooled = (compare_runs(store, a, b, part="val", pooled=of_heads) for of_heads in (False, True))
    scores = load_scores(snapshot, runs, "val")
    for row in pooled.as_rows():
        for name, side in zip("ab", sides.values(), strict=True):
            assert row[name] == pytest.approx(np.mean([scores[run.id, row["metric"]] for run in side]))
        assert row["low"] <= row["gain"] <= row["high"]
    assert alone.mcnemar is not None
    assert pooled.mcnemar is None
    assert alone.names[1].endswith("fold 0, seed 1)")
    assert pooled.names[1].endswith("fold 0, seeds 0, 1)")
    told = guidestore("compare", a, b, "--part", "val", "--pooled", "--store", two_sweeps / "store")
    assert "seeds 0, 1" in told.stdout
    with pytest.raises(InvalidInputError, match="runs of the same head"):
        compare_runs(store, *(run.id for run in sides["I"]), part="val", pooled=True)


def test_the_command_takes_names_and_files_of_sweeps(sweeps: tuple[Path, Path, Path]) -> None:
    root, narrow, wide = sweeps
    options = ("--store", root)
    by_name = guidestore("compare", "narrow", "wide", *options, "--format", "json")
    assert by_name.returncode == 0, by_name.stderr
    assert guidestore("compare", narrow, "wide", *options, "--format", "json").stdout == by_name.stdout
    table = guidestore("compare", narrow, wide, *options).stdout
    assert "sweep narrow (a) and sweep wide (b)" in table
    names = json.loads(
        guidestore("sql", "SELECT name, len(runs) AS n FROM sweeps", *options, "--format", "json").stdout
    )
    assert {row["name"] for row in names} == {"narrow", "wide"}
    before = EmbeddingStore.open(root).snapshot().version
    guidestore("sweep", "run", wide, *options)
    assert EmbeddingStore.open(root).snapshot().version == before, "the same sweep run again is the same sweep"
    for names, sentence in (
        (("narrow", "narrow"), "are the same runs; name two"),
        (("narrow", "1"), "'narrow' names a sweep and '1' does not"),
        (("narrow", narrow.with_name("none.yaml")), "cannot be read"),
    ):
        wrong = guidestore("compare", *names, *options)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
        assert sentence in wrong.stderr
    EmbeddingStore.open(root).tag("wide")
    ambiguous = guidestore("compare", "narrow", "wide", *options)
    assert "'wide' names a sweep and a tag or alias" in ambiguous.stderr
    other = _sweep(narrow.parent, "other", targets=["PIG"], guidance=["linear"])
    assert guidestore("sweep", "run", other, *options).returncode == 0
    found = compare_sweeps(EmbeddingStore.open(root), "narrow", "other")
    assert "p_holm" not in found.as_rows()[0]
    assert "skin/DIAG/official is in sweep narrow alone" in found.notes
