"""One table for a bug report: it says what is there and what is missing, and names no folder and no case."""

from __future__ import annotations

import json
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.cli import doctor
from guidestore.flows.library import versions
from tests.commandline import guidestore
from tests.flows.serving.waiting import free_port


def told(store: Path) -> dict[str, str]:
    """What was looked at -> the state it is in."""
    done = guidestore("doctor", "--store", store, "--format", "json")
    assert done.returncode == 0, done.stderr
    return {row["what"]: row["state"] for row in json.loads(done.stdout)}


def test_it_says_what_is_there(report_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "Jane Doe" / "codes"
    shutil.copytree(report_store, store)
    commits = EmbeddingStore.open(store).snapshot().version
    rows = told(store)
    assert f"torch {metadata.version('torch')}" in rows["packages"]
    assert rows["store"] == f"codes, format 1 revision 1, {commits} commits, 2 code sets; its index is up to date"
    assert rows["devices"].startswith(("cpu, ", "cuda:0 ", "mps"))
    assert re.fullmatch(r"\d+\.\d+\.\d+", rows["OpenSlide"])
    assert re.fullmatch(r"\d+\.\d+\.\d+, GPUs: \d+", rows["faiss"])
    assert "Jane" not in str(rows)
    assert str(Path.home()) not in str(rows)

    shutil.rmtree(store / "index")
    assert told(store)["store"].endswith(f"its index is {commits} commits behind: run `guidestore index`")


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    monkeypatch.setattr(versions, "PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(doctor, "_DEVICES", "raise OSError('libcudart.so is missing')")
    monkeypatch.setenv("PREFECT_API_URL", f"http://jane:secret@127.0.0.1:{free_port()}/api")
    rows = told(tmp_path / "Jane Doe")
    assert rows["not installed"] == "no-such-package"
    assert rows["OpenSlide"].startswith("ModuleNotFoundError: ")
    assert rows["devices"] == "OSError: libcudart.so is missing"
    assert rows["Prefect server"].endswith("does not answer (ConnectError)")
    assert rows["store"].startswith("there is no guidestore at ")
    assert "Jane" not in str(rows)
    assert "Doe" not in str(rows)
    assert "secret" not in str(rows)


def test_the_version_is_the_packages() -> None:
    assert guidestore("--version").stdout == f"guidestore {metadata.version('guidestore')}\n"
