"""The command as a user runs it: real files, exit codes, one-sentence errors; real processes where those matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from guidestore.embeddings.store import EmbeddingStore
from tests.commandline import Done, guidestore
from tests.flows.conftest import Phantom

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", ROOT.parent / "shared" / "data"))
real_data = pytest.mark.skipif(not (DATA / "mfeat").is_dir(), reason="the real data of GUIDESTORE_TEST_DATA is missing")


def run(*arguments: object, ok: bool = True, text: bool = True) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "guidestore", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=text, cwd=ROOT, timeout=300)
    assert not ok or done.returncode == 0, done.stderr
    return done


def here(*arguments: object) -> Done:
    """The command within this process."""
    done = guidestore(*arguments)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def mfeat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real imported codes of 2,000 digits: mor and fou. tests/test_docs.py trains heads on them."""
    store = tmp_path_factory.mktemp("mfeat") / "store"
    for modality in ("mor", "fou"):
        file = DATA / "mfeat" / f"{modality}.csv"
        here("import", file, "--cohort", "mfeat", "--modality", modality, "--encoder", "mfeat", "--store", store)
    return store


@real_data
def test_sql_speaks_every_format_and_every_snapshot(mfeat: Path, tmp_path: Path) -> None:
    here("index", "--store", mfeat)
    query = "SELECT modality, count(*) AS n FROM codes GROUP BY modality ORDER BY modality"
    assert run("sql", query, "--store", mfeat, "--format", "csv").stdout.splitlines() == [
        "modality,n", "fou,2000", "mor,2000",
    ]  # fmt: skip
    assert json.loads(here("sql", query, "--store", mfeat, "--format", "json").stdout)[1] == {
        "modality": "mor",
        "n": 2000,
    }
    assert "2000" in here("sql", query, "--store", mfeat).stdout
    file = tmp_path / "out.parquet"
    file.write_bytes(run("sql", query, "--store", mfeat, "--format", "parquet", text=False).stdout)
    assert pq.read_table(file)["n"].to_pylist() == [2000, 2000]
    at_one = here("sql", query, "--store", mfeat, "--at", 1, "--format", "csv").stdout.splitlines()
    assert at_one == ["modality,n", "mor,2000"]
    near = "SELECT case_id, similarity FROM neighbours('digit-0003', 'mfeat/fou/mfeat', 3) ORDER BY rank"
    rows = json.loads(here("sql", near, "--store", mfeat, "--format", "json").stdout)
    assert len(rows) == 3
    assert "digit-0003" not in {row["case_id"] for row in rows}
    assert rows[0]["similarity"] >= rows[2]["similarity"] > 0.9


@real_data
def test_encode_the_real_slide_and_the_real_mri(tmp_path: Path) -> None:
    """CMU-1-Small-Region.svs, and two patients whose sequences lie on different grids: bags and codes pass fsck."""
    manifest = tmp_path / "images.csv"
    lines = ["case_id,modality,path", f"CMU-1,histology,{DATA / 'slides' / 'CMU-1-Small-Region.svs'}"]
    for folder in sorted((DATA / "mri").iterdir()):
        for sequence in ("t1", "t1ce", "t2", "flair"):
            lines.append(f"{folder.name},mri_{sequence},{folder / f'{folder.name}_{sequence}.nii.gz'}")
    manifest.write_text("\n".join(lines) + "\n")
    store = tmp_path / "store"
    guidestore("cohort", "add", "manifest", "real", "--images", manifest, "--store", store)
    slide = guidestore("encode", "real", "--modality", "histology", "--encoder", "texture", "--store", store)
    assert "encoded 1," in slide.stdout
    volumes = guidestore("encode", "real", "--modality", "mri_all", "--encoder", "first_order", "--store", store)
    assert "encoded 2," in volumes.stdout
    assert "image files read 8;" in volumes.stdout
    single = guidestore("encode", "real", "--modality", "mri_t2", "--encoder", "first_order", "--store", store)
    assert "encoded 2," in single.stdout
    snapshot = EmbeddingStore.open(store).snapshot()
    key = next(key for key in snapshot.code_sets if key.kind == "bag")
    (bag,) = snapshot.bags(key, "CMU-1")
    assert bag.mpp == pytest.approx(0.499, abs=1e-3)
    assert bag.tile_size_px == 256
    assert 20 < len(bag) < 100
    assert (bag.coords_n2.max(axis=0) < (2220, 2967)).all()
    checked = guidestore("fsck", "--store", store)
    assert "clean" in checked.stderr


def test_errors_are_one_sentence_with_an_exit_code(encoded: Phantom, tmp_path: Path) -> None:
    store = encoded.store
    bad = tmp_path / "bad.csv"
    bad.write_text("case_id,a\n../x,1\n")
    for arguments, code, sentence in (
        (("sql", "SELECT 1", "--store", tmp_path / "none"), 3, "there is no guidestore"),
        (("import", bad, "--cohort", "c", "--modality", "m", "--encoder", "e", "--store", tmp_path / "s"), 2, "'../x'"),
        (("encode", "phantom", "--modality", "histology", "--encoder", "textur", "--store", store), 2, "did you mean"),
        (("guide", "nobody", "--inferior", "a/b", "--superior", "c/d", "--store", store), 3, "nobody"),
        (("predict", "--run", "champion", "--case", "x", "--store", store), 3, "no run 'champion'"),
        (("purge", "NOBODY", "--cohort", "phantom", "--yes", "--store", store), 3, "no case NOBODY"),
        (("purge", "", "--cohort", "phantom", "--yes", "--store", store), 2, "'' cannot be a case id"),
        (("tag", "../x", "--store", store), 2, "cannot be a tag"),
        (
            ("guide", "phantom", "--inferior", "a/b", "--superior", "c/d", "--mode", "best", "--store", store),
            2,
            "modes",
        ),
    ):
        done = guidestore(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert sentence in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert "Traceback" not in done.stderr
    missing = ("sql", "SELECT 1", "--store", tmp_path / "none")
    done = run(*missing, ok=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    debug = run("--debug", "sql", "SELECT 1", "--store", tmp_path / "none", ok=False)
    assert "Traceback" in debug.stderr


def test_wrong_usage_exits_with_two() -> None:
    assert run("encode", ok=False).returncode == 2
    assert run("nonsense", ok=False).returncode == 2


def test_help_names_every_command() -> None:
    text = run("--help").stdout
    for command in ("demo", "cohort", "import", "encode", "guide", "evaluate", "predict", "sql", "fsck", "gc", "purge"):
        assert command in text


def test_help_and_sql_load_neither_torch_nor_prefect(encoded: Phantom) -> None:
    here("index", "--store", encoded.store)
    for arguments in (["--help"], ["--version"], ["sql", "SELECT 1 AS one", "--store", str(encoded.store)]):
        code = (
            "import sys; from guidestore.flows.cli import main; sys.argv = ['guidestore', *" + repr(arguments) + "]\n"
            "try: main.main()\nexcept SystemExit: pass\n"
            "print(sorted({'torch', 'prefect', 'monai', 'sklearn', 'zarr', 'skimage'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_shells_complete_commands() -> None:
    asked = {"_GUIDESTORE_COMPLETE": "complete_bash", "COMP_WORDS": "guidestore sw", "COMP_CWORD": "1"}
    command = Path(sys.executable).with_name("guidestore")
    done = subprocess.run([command], env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sweep"]


def test_cohort_show_and_list(encoded: Phantom) -> None:
    rows = json.loads(here("cohort", "show", "phantom", "--store", encoded.store, "--format", "json").stdout)
    counted = {(row["what"], row["name"]): row["count"] for row in rows}
    assert counted["cases", ""] == counted["images", "mri_flair"] == counted["labels", "class"] == 24
    listed = json.loads(here("cohort", "list", "--store", encoded.store, "--format", "json").stdout)
    assert [row["cohort"] for row in listed] == ["phantom"]


def test_purge_takes_a_case_out_of_sql_and_names_the_weights(phantom: Phantom) -> None:
    here("index", "--store", phantom.store)
    query = "SELECT count(*) AS n FROM codes WHERE case_id = 'PHANTOM_0004'"
    before = json.loads(here("sql", query, "--store", phantom.store, "--format", "json").stdout)
    assert before[0]["n"] == 2
    asked = [
        sys.executable,
        "-m",
        "guidestore",
        "purge",
        "PHANTOM_0004",
        "--cohort",
        "phantom",
        "--store",
        phantom.store,
    ]
    refused = subprocess.run(asked, input="PHANTOM_0005\n", capture_output=True, text=True, timeout=300)
    assert refused.returncode == 2
    assert "2 codes" in refused.stderr
    assert "'PHANTOM_0005' is not PHANTOM_0004: nothing was changed" in refused.stderr
    assert json.loads(here("sql", query, "--store", phantom.store, "--format", "json").stdout)[0]["n"] == 2
    done = subprocess.run(asked, input="PHANTOM_0004\n", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    snapshot = phantom.opened.snapshot()
    splits = snapshot.rows("splits").to_pylist()
    assert "PHANTOM_0004" not in {row["case_id"] for row in splits}
    after = json.loads(here("sql", query, "--store", phantom.store, "--format", "json").stdout)
    assert after[0]["n"] == 0
    part = {row["part"] for row in phantom.opened.snapshot().rows("splits").to_pylist()}
    assert part == {"train", "val", "test"}
    assert "artifacts gone" in done.stdout
    assert "clean" in here("fsck", "--store", phantom.store).stderr
