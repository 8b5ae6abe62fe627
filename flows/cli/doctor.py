"""`guidestore doctor`: what a bug report needs to say about a machine and a store, without a path or a patient."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import typer

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.words import count_of
from guidestore.flows.cli.options import STORE, Store

app = typer.Typer()

PACKAGES = (
    *("torch", "torchvision", "timm", "monai", "nibabel", "openslide-python", "tifffile", "imagecodecs"),
    *("simplejpeg", "numpy", "scikit-image", "scikit-learn", "xgboost", "zarr", "pyarrow", "duckdb", "obstore"),
    *("prefect", "fastapi", "ray", "prefect-ray", "onnxruntime"),
)
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
_PATH = re.compile(r"(?<![\w.:/])/[^\s:;,()'\"]+")


@app.command()
def doctor(store: Store = STORE) -> None:
    """Print versions, devices, and the state of libraries, Prefect and the store: one table for a bug report.

    It names no folder and no case, and what is missing is said.
    """
    from guidestore.flows.cli.output import show_rows

    # A folder's name may have spaces, so the store's goes first.
    rows = [{"what": what, "state": _PATH.sub("…", state.replace(str(store), "…"))} for what, state in examined(store)]
    show_rows(rows, ["what", "state"], "table")


def examined(store: str) -> Iterator[tuple[str, str]]:
    """What was looked at, and the state it is in."""
    with ExitStack() as stack:
        devices, api = (stack.enter_context(_asked(code)) for code in (_DEVICES, _PREFECT_API))
        yield "guidestore", version() or "run from a folder, not installed"
        yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
        installed = {name: version(name) for name in PACKAGES}
        yield "packages", ", ".join(f"{name} {number}" for name, number in installed.items() if number)
        yield "not installed", ", ".join(name for name, number in installed.items() if not number) or "none"
        yield "OpenSlide", _told(_openslide)
        yield "faiss", _told(_faiss)
        yield "store", _told(lambda: _store(store))
        yield "devices", _answer(devices)
        yield "Prefect server", _told(lambda: _server(_answer(api)))


def version(package: str = "guidestore") -> str:
    """'' where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _told(look: Callable[[], str]) -> str:
    """What it says, or why it could not: the table is printed whatever is broken."""
    try:
        return look()
    except GuidestoreError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


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


def _openslide() -> str:
    import openslide

    return openslide.__library_version__


def _faiss() -> str:
    import faiss

    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    return f"{faiss.__version__}, GPUs: {gpus}"


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


def _store(root: str) -> str:
    from guidestore.embeddings.opening import FORMAT, REVISION
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.warehouse.catalog import head, lag

    code_sets = len(EmbeddingStore.open(root).snapshot().code_sets)
    behind = lag(root)
    index = f"is {count_of(behind, 'commit')} behind: run `guidestore index`" if behind else "is up to date"
    name, commits = Path(root).absolute().name, head(root)
    format_ = f"format {FORMAT} revision {REVISION}"
    return f"{name}, {format_}, {count_of(commits, 'commit')}, {count_of(code_sets, 'code set')}; its index {index}"
