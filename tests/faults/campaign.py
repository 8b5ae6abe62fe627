"""kill -9 at random moments of every command that writes, and the same command again: nothing is lost or differs.

Run: python -m tests.faults.campaign --kills 150 [--resume] [--commands import,purge] [--seed 0] [--folder DIR]

Each cycle copies a small store, runs a command and kills it, up to four times, then lets it end. After each kill no
commit has changed, every file that the log names is there with its digest, fsck finds nothing but what a killed writer
leaves, and SQL answers. In the end the store's content is that of an uninterrupted run. With --resume it goes on where
it stopped: cycles are kept in DIR/cycles.jsonl. Exit code 1 where a cycle found a defect, whose store stays in DIR.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.cli.main import main as guidestore_main
from guidestore.flows.encoding.cohorts import add_files
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.report_store import make_store, write

MOST_KILLS = 4
"""Of a cycle."""
LEFT = {"orphan"}
"""What fsck may find after a kill."""
LEFT_OF = {"purge": {"unfinished purge"}, "gc": {"extra"}}
"""And of a command that has not ended: what it has still to delete."""
ROWS = ("cohorts", "targets", "cases", "labels", "splits", "images", "runs", "metrics", "predictions", "quarantine")
OF_THE_MOMENT = ("created_at", "at", "snapshot", "versions")
SWEEP = """
name: killed
cohort: skin
targets: [DIAG]
inferior: clinical/made
superior: dermoscopy/made
guidance: [ridge, retrieval]
decoder: [logistic]
permutations: 1
"""


@dataclass(frozen=True)
class Command:
    """One that writes, and what a store needs before it."""

    arguments: Callable[[Path], list[str]]
    """Of the folder of inputs."""
    prepare: Callable[[Path, Path], None] = lambda store, inputs: None


@dataclass
class Cycle:
    """What one cycle found."""

    command: str
    kills: int = 0
    defects: list[str] = field(default_factory=list)


def _pieces(store: Path, inputs: Path) -> None:
    """Small files for a compaction."""
    lines = (inputs / "third.csv").read_text().splitlines()
    for start in range(1, 61, 12):
        piece = inputs / f"piece{start}.csv"
        piece.write_text("\n".join([lines[0], *lines[start : start + 12]]) + "\n")
        ends_well(_import(piece, "third"), store)


def _orphans(store: Path, inputs: Path) -> None:
    for number, file in enumerate(sorted((store / "objects/rows").rglob("*.parquet"))[:6]):
        orphan = file.with_name(f"01AAAAAAAAAAAAAAAAAAAAAA{number:02d}.parquet")
        shutil.copy(file, orphan)
        os.utime(orphan, (1, 1))


def _import(file: Path, encoder: str) -> list[str]:
    return ["import", str(file), "--cohort", "skin", "--modality", "ultrasound", "--encoder", encoder]


_HISTOLOGY = [
    "encode",
    "phantom",
    "--modality",
    "histology",
    "--encoder",
    "texture",
    "--tile-px",
    "128",
    "--mpp",
    "1.0",
]
_MODELS = ["--guidance", "retrieval", "--decoder", "logistic", "--permutations", "1"]
_PAIR = ["guide", "skin", "--inferior", "clinical/made", "--superior", "dermoscopy/made", "--target", "DIAG"]
COMMANDS = {
    "import": Command(lambda inputs: _import(inputs / "third.csv", "whole")),
    "encode": Command(lambda inputs: ["encode", "phantom", "--modality", "mri_flair", "--encoder", "first_order"]),
    "bags": Command(lambda inputs: _HISTOLOGY),
    "guide": Command(
        lambda inputs: [*_PAIR, "--guidance", "retrieval", "--decoder", "logistic", "--permutations", "1"]
    ),
    "sweep": Command(lambda inputs: ["sweep", "run", str(inputs / "sweep.yaml")]),
    "split": Command(lambda inputs: ["cohort", "split", "skin", "--folds", "3", "--target", "DIAG"]),
    "labels": Command(lambda inputs: ["cohort", "add", "manifest", "skin", "--labels", str(inputs / "grades.csv")]),
    "compact": Command(lambda inputs: ["compact"], _pieces),
    "gc": Command(lambda inputs: ["gc", "--delete"], _orphans),
    "purge": Command(lambda inputs: ["purge", "lesion-003", "--cohort", "skin", "--yes"]),
    "index": Command(lambda inputs: ["index", "--rebuild"]),
    "tag": Command(lambda inputs: ["tag", "kept"]),
}


def make_base(folder: Path) -> tuple[Path, Path]:
    """A store with codes, runs and images, and the folder of what commands read."""
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    store = make_store(folder, targets=("DIAG",))
    rng = random.Random(5)
    ids = [f"lesion-{case:03d}" for case in range(90)]
    third = [[case, *(rng.gauss(0, 1) for _ in range(8))] for case in ids]
    write(inputs / "third.csv", ["case_id", *(f"c{d}" for d in range(8))], third)
    write(inputs / "grades.csv", ["case_id", "grade"], [[case, rng.choice(["low", "high"])] for case in ids])
    (inputs / "sweep.yaml").write_text(SWEEP)
    generate_phantom(folder / "images", cases=9, seed=3)
    opened = EmbeddingStore.open(store)
    add_files(opened, "phantom", Radpath(source=folder / "images", splits=0))
    encode(opened, EncodeSettings(cohort="phantom", modality="mri_t1", encoder="first_order"))
    ends_well(["index"], store)
    return store, inputs


def ends_well(arguments: list[str], store: Path) -> float:
    """Seconds that it took."""
    with tempfile.NamedTemporaryFile() as log:
        code, seconds = run([*arguments, "--store", str(store)], Path(log.name))
        if code:
            raise SystemExit(f"{arguments} ended with {code}: {Path(log.name).read_text()[-2000:]}")
    return seconds


def run(arguments: list[str], log: Path, kill_after: float | None = None) -> tuple[int, float]:
    """Exit code (-9: killed) and seconds of the command in a fork, which has all libraries loaded already."""
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of libraries, none of which holds a lock here
        child = os.fork()
    if not child:
        _become(arguments, log)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), time.monotonic() - start
        if kill_after is not None and time.monotonic() - start >= kill_after:
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), time.monotonic() - start
        time.sleep(0.0005)


def _become(arguments: list[str], log: Path) -> None:
    """Runs the command and ends the process."""
    code: object = 0
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = ["guidestore", *arguments]
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        guidestore_main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def content_of(store: Path) -> dict[str, str]:
    """What the newest snapshot holds, whatever its files are called and when they were made."""
    snapshot = EmbeddingStore.open(store).snapshot()
    content = {}
    for key in snapshot.code_sets:
        if key.kind == "codes":
            codes = snapshot.codes(key)
            rows = zip(codes.case_ids, codes.image_ids, (row.tobytes().hex() for row in codes.codes_nd), strict=True)
        else:
            cases = sorted({entry.case_id for entry in snapshot.code_set_entries(key)})
            rows = ((case, bag.features_nd.tobytes().hex()) for case in cases for bag in snapshot.bags(key, case))
        content[str(key)] = _digest(map(repr, rows))
    for kind in ROWS:
        rows = [
            sorted((name, value) for name, value in row.items() if name not in OF_THE_MOMENT)
            for row in snapshot.rows(kind).to_pylist()
        ]
        content[kind] = f"{len(rows)} {_digest(map(repr, rows))}"
    content["tags"] = " ".join(sorted(EmbeddingStore.open(store).tags()))
    content["aliases"] = repr(sorted((name, artifact) for name, (_, artifact) in snapshot.aliases.items()))
    return content


def _digest(lines) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def digests_of(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def defects_of(store: Path, commits: dict[str, str], killed: str = "") -> list[str]:
    """What is wrong with a store in which the command `killed` was killed; '': in which all have ended."""
    now = digests_of(store / "commits")
    defects = [f"{name} changed or is lost" for name, digest in commits.items() if now.get(name) != digest]
    allowed = LEFT | LEFT_OF.get(killed, set())
    try:
        findings = fsck(EmbeddingStore.open(store).storage).findings
        defects += [f"fsck: {finding}" for finding in findings if finding.problem not in allowed]
    except Exception as error:
        defects.append(f"opening or fsck raised {error!r}")
    return defects


def cycle(name: str, base: Path, inputs: Path, work: Path, seconds: float, wanted: dict[str, str], rng) -> Cycle:
    """One command, killed and run again until it ends."""
    store, log, result = work / "store", work / "log.txt", Cycle(name)
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(base, store)  # keeps the times of its files
    log.unlink(missing_ok=True)
    arguments = [*COMMANDS[name].arguments(inputs), "--store", str(store)]
    commits = digests_of(store / "commits")
    for _ in range(rng.randint(1, MOST_KILLS)):
        code, _ = run(arguments, log, rng.uniform(0, seconds * 1.1))
        if code != -signal.SIGKILL:
            break
        result.kills += 1
        result.defects += defects_of(store, commits, killed=name)
        commits = digests_of(store / "commits")
        code, _ = run(["sql", "SELECT count(*) FROM code_sets", "--store", str(store)], log)
        result.defects += [f"sql ended with {code}"] if code else []
    code, _ = run(arguments, log)
    said = log.read_text()
    if code and not (name == "purge" and "has no case" in said):
        result.defects.append(f"run again it ended with {code}: {said[-400:]}")
    if "Traceback" in said or "a bug of guidestore" in said:
        result.defects.append(f"traceback: {said[-600:]}")
    result.defects += defects_of(store, commits)
    content = content_of(store)
    differs = [key for key in content.keys() | wanted.keys() if content.get(key) != wanted.get(key)]
    result.defects += [f"the content differs from that of an uninterrupted run in {differs}"] if differs else []
    return result


def campaign(folder: Path, kills: int, names: list[str], seed: int, *, resume: bool) -> list[Cycle]:
    """All cycles, those of before too."""
    record = folder / "cycles.jsonl"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    cycles = [Cycle(**json.loads(line)) for line in record.read_text().splitlines()] if record.exists() else []
    shutil.rmtree(folder / "made", ignore_errors=True)
    base, inputs = make_base(folder / "made")
    prepared, seconds, wanted = {}, {}, {}
    for name in names:
        prepared[name] = folder / "made" / f"before-{name}"
        shutil.copytree(base, prepared[name])
        COMMANDS[name].prepare(prepared[name], inputs)
        after = folder / "made" / f"after-{name}"
        shutil.copytree(prepared[name], after)
        seconds[name] = ends_well(COMMANDS[name].arguments(inputs), after)
        wanted[name] = content_of(after)
        shutil.rmtree(after)
    rng = random.Random(seed + len(cycles))
    while sum(cycle.kills for cycle in cycles) < kills:
        name = names[len(cycles) % len(names)]
        made = cycle(name, prepared[name], inputs, folder, seconds[name], wanted[name], rng)
        cycles.append(made)
        with record.open("a") as file:
            file.write(json.dumps(asdict(made)) + "\n")
        if made.defects:
            print(f"DEFECT {name}: {made.defects[:3]}", flush=True)
            shutil.copytree(folder / "store", folder / f"defect-{len(cycles)}", dirs_exist_ok=True)
    return cycles


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=150, help="in all, those of before too")
    parser.add_argument("--resume", action="store_true", help="go on where it stopped")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "guidestore-campaign")
    given = parser.parse_args()
    cycles = campaign(given.folder, given.kills, given.commands.split(","), given.seed, resume=given.resume)
    counts = Counter({cycle.command: 0 for cycle in cycles})
    for one in cycles:
        counts[one.command] += one.kills
    bad = sum(bool(one.defects) for one in cycles)
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    print(f"{sum(counts.values())} kills in {len(cycles)} cycles, {bad} cycles with a defect")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
