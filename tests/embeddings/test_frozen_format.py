"""Format 1 is frozen: the fixture never changes, and what is written today lies as it lies there.

What the format lets come later (new kinds of rows, new columns and keys) passes; what went, or has another type, fails.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest

from tests.fixtures import make_format1

FIXTURE = Path(__file__).parents[1] / "fixtures/format1"
SHA256 = "bcd35f4fc3d458c2b1afa73764bd04033f8772abf11156183386ce65df3bb159"
"""Of the names and digests of all files of the fixture. It never changes again: mend what reads or writes instead."""

_NAMES = ((r"\b[0-9a-f]{64}\b", "<sha256>"), (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "<ulid>"), (r"/[0-9a-f]{2}/", "/<ab>/"))


def pattern_of(path: str) -> str:
    for pattern, name in _NAMES:
        path = re.sub(pattern, name, path)
    return path


def shape_of(value: Any, place: str = "") -> set[str]:
    """Each key of a JSON value with the type that it has."""
    if isinstance(value, dict):
        return {f"{place} object"}.union(*(shape_of(inner, f"{place}.{key}") for key, inner in value.items()))
    if isinstance(value, list):
        return {f"{place} list"}.union(*(shape_of(inner, f"{place}[]") for inner in value))
    return {f"{place} {type(value).__name__}"}


def layout(file: Path) -> set[str]:
    """What a reader relies on in a file."""
    if file.name in ("zarr.json", "format.json"):
        return {file.read_text()}
    if file.suffix == ".json":
        data = file.read_bytes()
        value = json.loads(data)
        assert data == json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        return shape_of(value)
    if file.suffix == ".parquet":
        parquet = pq.ParquetFile(file)
        group = parquet.metadata.row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
        physical = {f"{c.path_in_schema} {c.physical_type} {c.compression}" for c in columns}
        return physical | {f"{field.name}: {field.type}" for field in parquet.schema_arrow}
    if file.suffix == ".safetensors":
        data = file.read_bytes()
        return {data[8 : 8 + int.from_bytes(data[:8], "little")].decode()}
    return {f"{file.stat().st_size} bytes"}


def layouts(root: Path) -> dict[str, set[str]]:
    """Name of a file, without digests and ulids -> what is in the files of that name."""
    found: dict[str, set[str]] = {}
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        found.setdefault(pattern_of(file.relative_to(root).as_posix()), set()).update(layout(file))
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("format1")
    with ExitStack() as stack:
        for module in (make_format1.storing, make_format1.purging, make_format1.transaction):
            stack.enter_context(mock.patch.object(module, "actor", make_format1.example))
        make_format1.make(folder)
    return folder


def test_the_fixture_stays_as_it_is() -> None:
    digest = hashlib.sha256()
    for file in sorted(path for path in FIXTURE.rglob("*") if path.is_file()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(FIXTURE).as_posix()} {content}\n".encode())
    assert digest.hexdigest() == SHA256


def test_what_is_written_lies_as_it_did(written: Path) -> None:
    frozen, now = layouts(FIXTURE / "store"), layouts(written / "store")
    gone = {name: lost for name, parts in frozen.items() if (lost := parts - now.get(name, set()))}
    assert gone == {}
    new = [name for name in now.keys() - frozen.keys() if not name.startswith("objects/rows/")]
    assert new == []
