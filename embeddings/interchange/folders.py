"""Files of a folder, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """Those of the folder itself whose name ends so; sorted, without hidden ones: tools name unfinished ones so."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.name.endswith(suffixes) and path.name[0] != "." and path.is_file()
    )


def folders_in(folder: Path) -> list[Path]:
    """Sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def within(folder: Path, place: Path) -> str:
    """``.`` for the folder itself, else the path below it."""
    return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else place.name


def listed(names: Sequence[str], most: int = 5) -> str:
    """Such as ``a, b and 7 more``."""
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
