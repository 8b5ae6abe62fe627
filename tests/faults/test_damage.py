"""Every kind of damage in every kind of file: fsck names it, nothing raises, and no answer with exit code 0 differs.

Afterwards a sweep has taken nothing that the store needs: with the file as it was, all is as before.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.index import neighbours
from guidestore.embeddings.leases import Lease
from guidestore.embeddings.store import EmbeddingStore
from tests.commandline import guidestore
from tests.embeddings.making import files_of
from tests.faults.campaign import make_base
from tests.report_store import GUIDE, write

pytestmark = pytest.mark.slow

MANY = 1200
"""Cases of a cohort whose commit has its entries in a file of its own."""
QUESTIONS: dict[str, tuple[str, ...]] = {
    "codes": ("sql", "SELECT cohort, encoder, case_id, list_sum(code::DOUBLE[]) s FROM codes ORDER BY ALL"),
    "metrics": ("sql", "SELECT run, part, metric, value FROM metrics ORDER BY ALL"),
    "predictions": ("sql", "SELECT * FROM predictions ORDER BY ALL"),
    "labels": (
        "sql",
        "SELECT cohort, case_id, target, class, part FROM labels JOIN splits USING (cohort, case_id) ORDER BY ALL",
    ),
    "at the tag": ("sql", "SELECT count(*) n, count(DISTINCT case_id) c FROM codes", "--at", "paper"),
    "guide": ("guide", "skin", *GUIDE, "--target", "DIAG", "--permutations", "2", "--seed", "0", "--seed", "1"),
    "evaluate": ("evaluate", "skin"),
    "neighbours": ("neighbours", "many-0007", "--code-set", "many/ultrasound/wide"),
}
KINDS: dict[str, str] = {
    "format": r"format\.json",
    "first commit": r"commits/000000000001\.json",
    "a commit between": r"commits/000000000005\.json",
    "last commit": r"commits/LAST\.json",
    "entries": r"objects/entries/.*",
    "manifest": r"checkpoints/[^/]*\.json",
    "segment": r"checkpoints/segments/.*",
    "head marker": r"heads/LAST-.*",
    "checkpoint marker": r"heads/checkpoints-.*",
    "bag metadata": r"objects/bag/.*zarr\.json",
    "bag chunk": r"objects/bag/.*/c/.*",
    "codes": r"objects/codes/.*",
    "neighbour index": r"objects/index/.*",
    "weights": r"objects/weights/.*",
    **{kind: rf"objects/rows/{kind}/.*" for kind in ("cases", "cohorts", "encoders", "images", "labels", "metrics")},
    **{kind: rf"objects/rows/{kind}/.*" for kind in ("predictions", "quarantine", "runs", "splits", "targets")},
    "CURRENT": r"index/CURRENT",
    "catalog": r"index/catalog-.*",
    "lock of the index": r"index/LOCK",
    "lease": r"leases/.*",
    "trash": r"trash/.*",
    "staged": r"staging/.*",
}
NO_DATA = {"lease", "trash", "staged", "lock of the index"}
"""Kinds of which fsck may say nothing: no answer depends on them."""
NEEDLESS = {("checkpoint marker", "missing"), ("checkpoint marker", "folder")}
"""And of a witness of a checkpoint that is there itself."""


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))] if data else b"x"


def _flipped(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return b"\1"
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": _cut,
    "flipped": _flipped,
    "empty": lambda data, rng: b"",
    "garbage": lambda data, rng: rng.randbytes(max(len(data), 1)),
    "longer": lambda data, rng: data + b"\n",
}
DAMAGES = (*CHANGES, "folder", "missing", "swapped", "extra")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one of every kind of file, all of them old."""
    folder = tmp_path_factory.mktemp("damage")
    root, _ = make_base(folder)
    rng = random.Random(1)
    rows = [[f"many-{case:04d}", *(rng.gauss(0, 1) for _ in range(6))] for case in range(MANY)]
    many = write(folder / "many.csv", ["case_id", *(f"c{d}" for d in range(6))], rows)
    place = ("--store", root)
    bags = ("encode", "phantom", "--modality", "histology", "--encoder", "texture", "--tile-px", "128", "--mpp", "1.0")
    for command in (
        ("import", many, "--cohort", "many", "--modality", "ultrasound", "--encoder", "wide"),
        bags,
        ("tag", "paper"),
        QUESTIONS["neighbours"],  # builds the index of the many
    ):
        done = guidestore(*command, *place)
        assert done.returncode == 0, done.stderr
    store = EmbeddingStore.open(root)
    with store.begin("quarantine") as transaction:
        row = {"cohort": "skin", "case_id": "lesion-001", "image_id": "i", "modality": "histology", "reason": "dark"}
        transaction.write_rows("quarantine", [row], cohort="skin")
    store.log.checkpoint()
    (root / "objects/rows/labels/01AAAAAAAAAAAAAAAAAAAAAAAA.parquet").write_bytes(b"left by somebody")
    collect(EmbeddingStore.open(root), dry_run=False, older_than_h=-1)
    staged = store.storage.staging() / "0.parquet"
    staged.write_bytes(b"half")
    Lease(store.storage).cover([f"staging/{staged.parent.name}"])
    assert guidestore("index", *place).returncode == 0
    assert guidestore("fsck", *place).returncode == 0
    for file in root.rglob("*"):
        os.utime(file, (1, 1))
    return root


@pytest.fixture(scope="module", autouse=True)
def indexed() -> pytest.MonkeyPatch:
    """Neighbours of a small code set come from an index too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "EXACT_UP_TO", 100)
        yield patch


def answers(root: Path) -> dict[str, tuple[object, str, str]]:
    """Question -> exit code, standard output and standard error."""
    asked = {name: guidestore(*question, "--format", "csv", "--store", root) for name, question in QUESTIONS.items()}
    return {name: (done.returncode, done.stdout, done.stderr) for name, done in asked.items()}


@pytest.fixture(scope="module")
def right(pristine: Path) -> dict[str, str]:
    said = answers(pristine)
    assert {code for code, _, _ in said.values()} == {0}, said
    return {name: out for name, (_, out, _) in said.items()}


def of_kind(root: Path, kind: str) -> list[str]:
    last = max(file.stem for file in (root / "commits").iterdir())
    found = [path for path in files_of(root) if re.fullmatch(KINDS[kind].replace("LAST", last), path)]
    current = (root / "index/CURRENT").read_text().partition('"previous"')[0]  # what names the one before goes then
    return [path for path in found if Path(path).name in current] if kind == "catalog" else found


def damage(root: Path, kind: str, how: str, rng: random.Random) -> tuple[set[str], dict[str, bytes]] | None:
    """The paths that are wrong now, and what to put back (b'' for what is to go); None where it cannot be done."""
    path = rng.choice(of_kind(root, kind))
    file = root / path
    before = file.read_bytes()
    if how == "extra":
        added = file.with_name(f"extra-{file.name}")
        added.write_bytes(before)
        os.utime(added, (1, 1))
        return {added.relative_to(root).as_posix()}, {}
    if how == "swapped":
        suffix = file.suffix
        others = [one for one in file.parent.iterdir() if one.is_file() and one.suffix == suffix]
        others = sorted(one for one in others if one.read_bytes() != before) or sorted(
            root / one for one in of_kind(root, kind) if (root / one).read_bytes() != before
        )
        if not others:
            return None
        other = rng.choice(others)
        kept = {path: before, other.relative_to(root).as_posix(): other.read_bytes()}
        file.write_bytes(other.read_bytes())
        other.write_bytes(before)
        return set(kept), kept
    changed = CHANGES[how](before, rng) if how in CHANGES else None
    if changed == before:
        return None
    file.unlink()
    if how == "folder":
        file.mkdir()
    elif changed is not None:
        file.write_bytes(changed)
    return {path}, {path: before}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named_and_no_answer_is_wrong(pristine, right, tmp_path, kind, how):
    root = Path(shutil.copytree(pristine, tmp_path / "store"))
    done = damage(root, kind, how, random.Random(f"{kind} {how}"))
    if done is None:
        pytest.skip("a file of this kind cannot be damaged so")
    wrong, kept = done

    checked = guidestore("fsck", "--format", "csv", "--store", root)
    assert checked.returncode in (0, 4), checked.stderr
    assert "Traceback" not in checked.stderr
    assert kind in NO_DATA or (kind, how) in NEEDLESS or [path for path in wrong if path in checked.stdout], (
        checked.stdout
    )
    for name, (code, out, err) in answers(root).items():
        assert "Traceback" not in err, (name, err)
        assert "a bug of guidestore" not in err, (name, err)
        if code == 0:
            assert out == right[name], name
        else:
            assert code in range(1, 9), (name, err)
            assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1, (name, err)
    swept = guidestore("gc", "--delete", "--store", root)
    assert swept.returncode in range(9), swept.stderr

    for path in wrong:
        file = root / path
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
    for path, data in kept.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    if kind == "manifest":  # a sweep takes segments that nothing names: what is left of the checkpoint is needless
        shutil.rmtree(root / "checkpoints")
        for file in root.glob("heads/checkpoints-*"):
            file.unlink()
    if kind in ("CURRENT", "catalog", "lock of the index"):
        assert guidestore("index", "--store", root).returncode == 0
    assert {name: out for name, (_, out, _) in answers(root).items()} == right
    report = fsck(EmbeddingStore.open(root).storage)
    assert report.clean, report.findings
