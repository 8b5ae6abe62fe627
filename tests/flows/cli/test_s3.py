"""The command line on a store in a bucket: what works on a disk works there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import guidestore as gs
from guidestore.embeddings.places import local_folder
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from tests.commandline import guidestore
from tests.report_store import GUIDE, write
from tests.s3_server import BUCKET, environment

ROOT = Path(__file__).parents[3]
CASES = 40


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user runs it."""
    command = [sys.executable, "-m", "guidestore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def ask(store: str, query: str) -> list[dict]:
    done = guidestore("sql", query, "--store", store, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def do(store: str, *arguments: object) -> str:
    done = guidestore(*arguments, "--store", store)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_guide_sql_and_upkeep(bucket, tmp_path):
    rng = np.random.default_rng(0)
    z_s = rng.normal(size=(CASES, 4))
    ids = [f"lesion-{case:03d}" for case in range(CASES)]
    for modality, codes_nd in (("clinical", z_s[:, :3] + rng.normal(size=(CASES, 3))), ("dermoscopy", z_s)):
        rows = [[case, *code] for case, code in zip(ids, codes_nd.tolist(), strict=True)]
        file = write(tmp_path / "codes.csv", ["case_id", *(f"c{d}" for d in range(codes_nd.shape[1]))], rows)
        do(bucket, "import", file, "--cohort", "skin", "--modality", modality, "--encoder", "made")
    labels = [[case, "ab"[int(code > 0)]] for case, code in zip(ids, z_s[:, 0], strict=True)]
    splits = [[case, "official", 0, ("train", "test", "val")[n % 3]] for n, case in enumerate(ids)]
    do(
        bucket,
        *("cohort", "add", "manifest", "skin"),
        *("--labels", write(tmp_path / "labels.csv", ["case_id", "grade"], labels)),
        *("--splits", write(tmp_path / "splits.csv", ["case_id", "split", "fold", "part"], splits)),
    )
    do(bucket, "guide", "skin", *GUIDE, "--permutations", 1)
    assert {row["row"] for row in ask(bucket, "FROM runs")} == {"S+I", "S", "I", "R(I)", "G(I)", "G(I)+I"}
    assert ask(bucket, "SELECT count(*) AS n FROM codes") == [{"n": 2 * CASES}]
    in_python = gs.open(bucket)
    assert len(in_python.pair("skin", "clinical/made", "dermoscopy/made")) == CASES
    in_python.add_codes("other", "mri", "made", rng.normal(size=(8, 2)), [f"o{case}" for case in range(8)])
    assert sorted(in_python.code_sets()["cases"]) == [8, CASES, CASES]
    do(bucket, "tag", "first")
    do(bucket, "compact")
    do(bucket, "gc", "--delete")
    do(bucket, "neighbours", ids[0], "--code-set", "skin/clinical/made", "-k", 3)
    do(bucket, "purge", ids[0], "--cohort", "skin", "--yes")
    assert ask(bucket, "SELECT count(*) AS n FROM codes WHERE cohort = 'skin'") == [{"n": 2 * CASES - 2}]
    assert ask(bucket, "FROM tags")[0]["name"] == "first"

    checked = run("fsck", "--store", bucket)
    assert checked.returncode == 0, checked.stderr
    assert ": clean" in checked.stderr
    asked = run("sql", "SELECT count(*) AS n FROM cases WHERE cohort = 'skin'", "--store", bucket, "--format", "csv")
    assert asked.stdout.split() == ["n", str(CASES - 1)], asked.stderr
    assert not Path("s3:").exists()


def test_encode_images_and_index_them_on_another_machine(bucket, tmp_path, monkeypatch):
    generate_phantom(tmp_path / "images", cases=9, seed=4, slide_px=1024)
    source = ("--source", tmp_path / "images", "--splits", 0)
    do(bucket, "cohort", "add", "radpath", "glioma", *source, "--pseudonymize", tmp_path / "key")
    encode = ("encode", "glioma", "--modality", "mri_t2", "--encoder", "first_order", "--key", tmp_path / "key")
    assert "encoded 9, there already 0" in do(bucket, *encode)
    assert "encoded 0, there already 9" in do(bucket, *encode)
    slides = ("--modality", "histology", "--encoder", "texture", "--mpp", "2", "--tile-px", "128")
    do(bucket, "encode", "glioma", *slides, "--key", tmp_path / "key")
    assert [row["n"] for row in ask(bucket, "SELECT count(*) AS n FROM bags")] == [9]

    here = local_folder(bucket)
    for name, value in environment(os.environ["AWS_ENDPOINT_URL"], tmp_path / "elsewhere").items():
        monkeypatch.setenv(name, value)
    assert local_folder(bucket) != here
    done = guidestore("sql", "FROM codes", "--store", bucket)
    assert done.returncode == 3
    assert f"the store {bucket} has no index yet; build it with `guidestore index`" in done.stderr
    do(bucket, "index")
    assert len(ask(bucket, "FROM codes")) == 9


@pytest.mark.parametrize("command", [("sql", "SELECT 1"), ("fsck",), ("gc",), ("tag", "x"), ("index",)])
def test_no_store_there_is_one_sentence_with_the_url(bucket, command):
    done = guidestore(*command, "--store", bucket)
    assert done.returncode in (2, 3)
    assert f"there is no guidestore at {bucket}: name one with --store" in done.stderr
    assert not Path("s3:").exists()


def test_no_credentials_is_one_sentence(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    done = guidestore("sql", "SELECT 1", "--store", f"s3://{BUCKET}/a")
    assert done.returncode == 7
    assert "there are no credentials for s3://codes/a: set AWS_ACCESS_KEY_ID" in done.stderr
