"""The wheel, installed, in a folder whose own files have the names of ours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from guidestore.embeddings.store import EmbeddingStore
from tests.flows.serving.server import RETRAIN, serving
from tests.flows.serving.waiting import until
from tests.packaging.tracked import ROOT

UV = ROOT / ".uv/bin/uv" if (ROOT / ".uv/bin/uv").exists() else shutil.which("uv") or "uv"
"""As the Makefile finds it; pip would take as long to be installed as all else here."""
DECOYS = ("flows/__init__.py", "embeddings.py", "heads.py", "warehouse/__init__.py", "encoders.py")


def environment() -> dict[str, str]:
    """Without what leads to the checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """Python of an environment that has the wheel, and all else from ours; its path of imports leads to no checkout."""
    python = tmp_path / "venv/bin/python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, env=environment())
    (own,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (own / "all-else.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    for name in DECOYS:
        decoy = tmp_path / "decoys" / name
        decoy.parent.mkdir(parents=True, exist_ok=True)
        decoy.write_text("raise RuntimeError('this is not what guidestore imports')\n")
    return tmp_path / "decoys"


def said(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_decoys_are_not_taken_for_ours(
    installed: Path, decoys: Path, report_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query by the command and by `-m`, `serve`, and a retraining: its run is a process of Prefect's. Then Prefect's
    server is killed, of which `serve` says a sentence."""
    shutil.copytree(report_store, store := tmp_path / "store")
    where = Path(said(installed, "-c", "import guidestore; print(guidestore.__file__)", cwd=decoys).strip())
    assert where.is_relative_to(installed.parents[1])
    cases = ("sql", "SELECT count(DISTINCT case_id) AS n FROM codes", "--format", "csv", "--store", store)
    shown = said(installed.with_name("guidestore"), *cases, cwd=decoys)
    assert int(shown.split()[-1]) > 0
    assert said(installed, "-m", "guidestore", *cases, cwd=decoys) == shown

    before = EmbeddingStore.open(store).snapshot().rows("runs").num_rows
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(decoys)
    (tmp_path / "served").mkdir()
    with serving(store, tmp_path / "served", command=(installed, "-m", "guidestore")) as served:
        run = served.start("retrain", {**RETRAIN, "permutations": 1, "guidance": "cca"})
        assert served.end_of(run)["type"] == "COMPLETED", served.log(run)
        os.kill(served.server(), signal.SIGKILL)  # test_serve.py ends its own by Ctrl-C
        assert served.process.wait(60) == 1
        until(lambda: not served.processes())
    told = (tmp_path / "served/stderr").read_text()
    assert told.startswith("error: the Prefect server ended with code -9"), told
    assert told.count("\n") == 1, told
    assert EmbeddingStore.open(store).snapshot().rows("runs").num_rows > before


@pytest.mark.slow
def test_with_what_it_requires_it_does_its_main_job(wheel: Path, decoys: Path, tmp_path: Path) -> None:
    """Nothing but what the wheel requires, in the versions of constraints.txt: what it forgot to require is missed."""
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True)
    to = ("--quiet", "--python", tmp_path / "venv", "--constraints", ROOT / "constraints.txt")
    subprocess.run([UV, "pip", "install", *to, wheel], check=True, env=environment())
    command = tmp_path / "venv/bin/guidestore"
    assert said(command, "--version", cwd=decoys).startswith("guidestore 0.1.0")
    assert "G(I)+I" in said(command, "demo", "--dir", tmp_path / "demo", cwd=decoys)
