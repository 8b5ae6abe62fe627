"""Two rows of one image: what makes its files, and what differs between the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guidestore.embeddings.pixels import COLUMNS

_WORDS = {"mpp_source": "source of the mpp", "bit_depth": "bit depth"}


def digests_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """sha256 of all files of an image, its own first."""
    return tuple(file["sha256"] for file in row.get("files") or ()) or (row.get("sha256") or "",)


def changes(row: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """In words, what `row` says of an image that `known` says otherwise; empty: they are the same."""
    changed = ["path"] * (row["path"] != known["path"]) + ["file"] * (digests_of(row) != digests_of(known))
    # '' is null in a column of text.
    changed += [_WORDS.get(name, name) for name in COLUMNS if (row[name] or None) != (known[name] or None)]
    return changed or ["list of files"] * (bool(row["files"]) and not known["files"])
