"""What runs here, for a bug report: versions, libraries and a store, without a path or a patient."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.words import count_of

PACKAGES = (
    *("torch", "torchvision", "timm", "monai", "nibabel", "openslide-python", "tifffile", "imagecodecs"),
    *("simplejpeg", "numpy", "scikit-image", "scikit-learn", "xgboost", "zarr", "pyarrow", "pandas", "duckdb"),
    *("obstore", "prefect", "fastapi", "ray", "prefect-ray", "onnxruntime"),
)
_PATH = re.compile(r"(?<![\w.:/])/[^\s:;,()'\"]+")


def show_versions(store: Path | str = "") -> None:
    """Prints versions and the state of libraries, and of a store if one is given; no folder and no case is named.

    `guidestore doctor` looks at devices and Prefect too.

    >>> gs.show_versions()
    guidestore: ...
    """
    for what, state in examined(str(store)):
        print(f"{what}: {without_paths(state, str(store))}")


def examined(store: str = "") -> Iterator[tuple[str, str]]:
    """What was looked at, and the state it is in. store: '' for none."""
    yield "guidestore", version() or "run from a folder, not installed"
    yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    installed = {name: version(name) for name in PACKAGES}
    yield "packages", ", ".join(f"{name} {number}" for name, number in installed.items() if number)
    yield "not installed", ", ".join(name for name, number in installed.items() if not number) or "none"
    yield "OpenSlide", told(_openslide)
    yield "faiss", told(_faiss)
    if store:
        yield "store", told(lambda: _store(store))


def without_paths(state: str, store: str) -> str:
    """The text without names of folders. store: its folder, whose name may have spaces."""
    return _PATH.sub("…", state.replace(store, "…") if store else state)


def version(package: str = "guidestore") -> str:
    """'' where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def told(look: Callable[[], str]) -> str:
    """What it says, or why it could not: the table is printed whatever is broken."""
    try:
        return look()
    except GuidestoreError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _openslide() -> str:
    import openslide

    return openslide.__library_version__


def _faiss() -> str:
    import faiss

    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    return f"{faiss.__version__}, GPUs: {gpus}"


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
