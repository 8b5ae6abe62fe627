"""`guidestore doctor`: what a bug report needs to say about a machine and a store, without a path or a patient."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from urllib.parse import urlsplit

from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import STORE, Format, Store
from guidestore.flows.library.versions import examined, told, without_paths

app = App()

ANSWER_SECONDS = 20.0
"""For a library to load; on a quiet machine the slowest takes 2."""
REACH_SECONDS = 1.0
"""For a Prefect server to answer."""

# In processes of their own, at once: torch and Prefect take seconds to load.
_DEVICES = """
import torch
gpus = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
gpus += ["mps"] if torch.backends.mps.is_available() else []
cpu = f"cpu, {torch.get_num_threads()} threads"
from guidestore.flows.work.devices import devices_of, in_words
auto = {work: in_words(devices_of("auto", work)) for work in ("encoders", "heads")}
auto = auto["heads"] if len({*auto.values()}) == 1 else f"{auto['encoders']} for encoders, {auto['heads']} for heads"
print(", ".join([*gpus, cpu]), f"(built for CUDA {torch.version.cuda}); auto is {auto}")
"""
_PREFECT_API = "from prefect.settings import get_current_settings; print(get_current_settings().api.url or '')"


@app.command()
def doctor(store: Store = STORE, format_: Format = "table") -> None:
    """Print versions, devices, and the state of libraries, Prefect and the store: one table for a bug report.

    It names no folder and no case, and what is missing is said.

    $ guidestore doctor
    """
    from guidestore.flows.cli.output import print_table, show_rows
    from guidestore.flows.work.progress import progress_bars

    with ExitStack() as stack:
        stack.enter_context(progress_bars())
        devices, api = (stack.enter_context(_asked(code)) for code in (_DEVICES, _PREFECT_API))
        states = [*examined(store), ("devices", _answer(devices))]
        states.append(("Prefect server", told(lambda: _server(_answer(api)))))
    rows = [{"what": what, "state": without_paths(state, store)} for what, state in states]
    if format_ == "table":
        print_table(("what", "state"), [tuple(row.values()) for row in rows], format_, most_lines=99)
    else:
        show_rows(rows, ["what", "state"], format_)


def _asked(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def _answer(process: subprocess.Popen[str]) -> str:
    try:
        out, err = process.communicate(timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"no answer within {ANSWER_SECONDS:g} s"
    return out.strip() if process.returncode == 0 else err.strip().splitlines()[-1]


def _server(api_url: str) -> str:
    import httpx

    if not api_url:
        return "none is set; `guidestore serve` starts its own"
    if not api_url.startswith("http"):
        return api_url  # why Prefect could not be asked
    address = urlsplit(api_url)
    place = f"{address.scheme}://{address.hostname}:{address.port}"  # without a password
    try:
        code = httpx.get(f"{api_url.rstrip('/')}/health", timeout=REACH_SECONDS).status_code
    except httpx.HTTPError as error:
        return f"{place} does not answer ({type(error).__name__})"
    return f"{place} answers" if code == httpx.codes.OK else f"{place} answers with {code}"
