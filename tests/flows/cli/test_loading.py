"""What a wrong name, and a job that is done already, cost: neither loads torch, MONAI or Prefect."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = "guide skin --inferior clinical/made --superior dermoscopy/made --target DIAG"
COMMANDS = {
    f"{GUIDE} --guidance rigde": (2, "did you mean 'ridge'?"),
    f"{GUIDE} --decoder logistc": (2, "did you mean 'logistic'?"),
    f"{GUIDE} --split oficial": (3, "it has official"),
    f"{GUIDE.replace('made', 'mode')}": (3, "no code set 'skin/clinical/mode'"),
    f"{GUIDE.replace('skin', 'skni')}": (3, "did you mean 'skin'?"),
    "encode skin --modality clinical --encoder uni3": (2, "did you mean uni?"),
    "evaluate skni": (3, ""),
    "predict --model champoin codes.csv": (2, ""),
    "report skni": (3, "skni"),
    f"{GUIDE} --guidance ridge --decoder logistic --permutations 2 --seed 0 --seed 1": (0, "0 trained, "),
}
CODE = """
import json, shlex, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from guidestore.flows.cli.main import main
said = {}
for command in json.loads(sys.argv[1]):
    sys.argv = ["guidestore", *shlex.split(command), "--store", sys.argv[-1]]
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            code = end.code
    heavy = [name for name in ("torch", "monai", "prefect", "ray", "timm", "sklearn") if name in sys.modules]
    said[command] = code, " ".join(err.getvalue().split()), heavy
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(report_store: Path) -> dict[str, tuple[int, str, list[str]]]:
    asked = [sys.executable, "-c", CODE, json.dumps(list(COMMANDS)), str(report_store)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(shlex.split(command)[:1]))
def test_names_are_checked_and_what_is_done_is_known_without_a_network(command: str, said) -> None:
    code, message, heavy = said[command]
    assert (code, heavy) == (COMMANDS[command][0], [])
    assert COMMANDS[command][1] in message


IN_THREADS = """
import sys, threading

class Noting:
    def find_spec(self, name, path, target=None):
        if threading.current_thread() is not threading.main_thread() and name.partition(".")[0] in ("scipy", "sklearn"):
            print(name)

sys.meta_path.insert(0, Noting())
from guidestore.flows.cli.main import main
main()
"""


def test_two_threads_that_train_load_no_library_at_once(report_store: Path, tmp_path: Path) -> None:
    """One of them would find a module of scipy half made."""
    shutil.copytree(report_store, store := tmp_path / "store")
    command = [
        *shlex.split(GUIDE),
        "--guidance",
        "ridge",
        "--decoder",
        "logistic",
        "--seed",
        "7",
        "--store",
        str(store),
    ]
    done = subprocess.run([sys.executable, "-c", IN_THREADS, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "scipy." not in done.stdout
    assert "sklearn." not in done.stdout
