"""Files of a folder, by their names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """Those of the folder itself whose name ends so; sorted, without hidden ones: tools name unfinished ones so.

    Raises InvalidInputError where one would be passed over in silence, its suffix in capitals or a link to nothing, and
    where a name has a line break in it, or another sign that is not printed.
    """
    if not folder.is_dir():
        return []
    found = [
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(suffixes) and path.name[0] != "." and not path.is_dir()
    ]
    for path in found:
        if not path.name.endswith(suffixes):
            raise InvalidInputError(f"{_told(path)} is not read: rename it to end with {path.suffix.lower()}")
        if not path.exists():
            raise InvalidInputError(f"{_told(path)} is a link to nothing; copy what it meant, or remove it")
    return sorted(_told(path) for path in found if path.is_file())


def folders_in(folder: Path) -> list[Path]:
    """Sorted, without hidden ones. Raises InvalidInputError as `files_in`."""
    if not folder.is_dir():
        return []
    return sorted(_told(path) for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def nested_in(places: Iterable[Path], read: Collection[Path]) -> list[Path]:
    """Files below `places`, in folders within, that are not `read` though they end as those that are; sorted."""
    suffixes = {path.suffix for path in read}
    found: set[Path] = set()
    for place in places:
        for root, folders, names in os.walk(place):
            folders[:] = [name for name in folders if name[0] != "."]
            if Path(root) != place:
                found |= {Path(root, name) for name in names if name[0] != "." and Path(name).suffix in suffixes}
    return sorted(found - set(read))


def without_features(place: str, names: Collection[str]) -> tuple[str, ...]:
    """A note on slides that a tool lists, and of which there are no features."""
    return (f"{place} has slides without features, blank or not done: {listed(sorted(names))}",) if names else ()


def _told(path: Path) -> Path:
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in path.name):
        raise InvalidInputError(f"{path.parent} holds {path.name!r}, a name of signs that are not printed; rename it")
    return path


def within(folder: Path, place: Path) -> str:
    """``.`` for the folder itself, else the path below it."""
    return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else place.name


def listed(names: Sequence[str], most: int = 5) -> str:
    """Such as ``a, b and 7 more``."""
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
