"""`python -m tests.gpu`: what a machine with a GPU is asked once, in at most 480 s; see docs/gpu.md.

Each part is a process of its own with a time limit of its own, and what it finds is printed as it is found: a run that
is cut short still tells. No pytest, faiss, xgboost, imagecodecs or Prefect is needed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

from tests.gpu.report import CEILINGS, FAILED, Report

LIMITS_S = {
    "ceilings": 40.0,
    "correctness": 90.0,
    "encode": 120.0,
    "heads": 120.0,
    "neighbours": 30.0,
    "memory": 40.0,
    "resume": 60.0,
}
"""Part -> seconds, start of its process included."""
WHOLE_S = 480.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, …; cpu for a trial of the script itself")
    parser.add_argument("--small", action="store_true", help="sizes for seconds on a CPU; the figures mean nothing")
    parser.add_argument("--part", action="append", choices=[*LIMITS_S], help="only this one; repeat for several")
    parser.add_argument("--output", type=Path, help="a file for what is printed, besides")
    parser.add_argument("--ceilings", help=argparse.SUPPRESS)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        (part,) = given.part
        report = Report(given.device, given.small, json.loads(given.ceilings))
        import_module(f"tests.gpu.{part}").run(report)
        return 0
    return _all(given)


def _all(given: argparse.Namespace) -> int:
    start, ceilings, wrong = time.monotonic(), {}, []
    slow = 4 if given.small else 1  # on a busy machine without a GPU
    output = given.output.open("w", encoding="utf-8") if given.output else None

    def say(line: str) -> None:
        print(line, flush=True)
        if output:
            output.write(line + "\n")
            output.flush()

    for part in given.part or [*LIMITS_S]:
        limit = min(slow * LIMITS_S[part], slow * WHOLE_S - (time.monotonic() - start))
        if limit <= 0:
            wrong.append(f"{part} (no time left)")
            continue
        say(f"== {part}, at most {limit:.0f} s")
        command = [sys.executable, "-u", "-m", "tests.gpu", "--here", "--part", part, "--device", given.device]
        command += ["--ceilings", json.dumps(ceilings), *(["--small"] if given.small else [])]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        timer = threading.Timer(limit, process.kill)
        timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            text = line.rstrip("\n")
            if text.startswith(CEILINGS):
                ceilings = json.loads(text.removeprefix(CEILINGS))
            else:
                say(text)
            if text.lstrip().startswith(FAILED):
                wrong.append(f"{part}: {text.strip()}")
        code = process.wait()
        timer.cancel()
        took = time.monotonic() - began
        if code:
            wrong.append(f"{part} ({'out of time' if took >= limit else f'exit code {code}'})")
        say(f"   {part}: {took:.1f} s" + ("" if not code else ", NOT ENDED"))
    say(f"== {time.monotonic() - start:.0f} s; " + ("all checks hold" if not wrong else "WRONG: " + "; ".join(wrong)))
    if output:
        output.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
