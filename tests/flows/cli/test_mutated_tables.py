"""Mutated tables, arrays and YAML at every door: documented exit codes, and never a value that another reader disputes.

References are csv, pyarrow and numpy, asked in the plainest way; where they cannot read a file, ours may still refuse.
"""

from __future__ import annotations

import csv
import io
import os
import resource
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guidestore.embeddings.store import EmbeddingStore
from tests.commandline import guidestore

CODES = (0, 2, 3, 5, 7, 8)
MOST_MEMORY = 1 << 30
"""Bytes above what the process had, that reading a file of a few KB may take."""
IDS = [f"P{i:02d}" for i in range(12)]
VALUES = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
TABLE = pa.table({"case_id": IDS, **{f"f{d}": VALUES[:, d] for d in range(3)}})


def of_csv() -> bytes:
    lines = [",".join(["case_id", "f0", "f1", "f2"])]
    lines += [",".join([case, *map(repr, row)]) for case, row in zip(IDS, VALUES.tolist(), strict=True)]
    return "\n".join(lines).encode() + b"\n"


def of_parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, write_page_checksum=True)
    return sink.getvalue()


def of_npz() -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, case_id=np.array(IDS), codes=VALUES)
    return sink.getvalue()


def of_npy() -> bytes:
    sink = io.BytesIO()
    np.save(sink, VALUES)
    return sink.getvalue()


def by_csv(data: bytes) -> dict[str, list[Any]]:
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    header = [name.strip() for name in rows[0]]
    at = header.index("case_id")
    named = [i for i, name in enumerate(header) if i != at and name]
    return {row[at].strip(): [float(row[i]) for i in named] for row in rows[1:] if any(map(str.strip, row))}


def by_pyarrow(data: bytes) -> dict[str, list[float]]:
    table = pq.read_table(io.BytesIO(data))
    names = [name for name in table.schema.names if name not in ("case_id", "")]
    rows = zip(table["case_id"].to_pylist(), *(table[name].to_pylist() for name in names), strict=True)
    return {str(case).strip(): list(row) for case, *row in rows}


def by_numpy(data: bytes) -> dict[str, list[float]]:
    archive = np.load(io.BytesIO(data), allow_pickle=False)
    if isinstance(archive, np.ndarray):
        return dict(zip(IDS, archive.tolist(), strict=True))
    (name,) = [name for name in archive.files if name != "case_id"]
    return dict(zip(map(str, archive["case_id"].tolist()), archive[name].tolist(), strict=True))


FORMATS: dict[str, tuple[bytes, Callable[[bytes], dict[str, list[float]]]]] = {
    "csv": (of_csv(), by_csv),
    "parquet": (of_parquet(), by_pyarrow),
    "npz": (of_npz(), by_numpy),
    "npy": (of_npy(), by_numpy),
}


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with bytes changed, cut out, doubled or put in; mostly in the first or last 200, where headers lie."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.one_of(st.integers(0, 200), st.integers(-200, -1), st.integers(0, len(whole)))) % max(
            len(data), 1
        )
        match draw(st.sampled_from(["set", "bit", "cut", "end", "put", "double"])):
            case "set":
                data[place : place + 1] = bytes([draw(st.sampled_from([*b",;\"\n\r\t-.0e'{}()", 0, 1, 127, 128, 255]))])
            case "bit":
                data[place : place + 1] = bytes(b ^ 1 << draw(st.integers(0, 7)) for b in data[place : place + 1])
            case "cut":
                del data[place : place + draw(st.integers(1, 40))]
            case "end":
                del data[place:]
            case "put":
                data[place:place] = draw(
                    st.sampled_from(
                        [b",", b"\n", b'"', b"nan", b"999999999", b"NA", b"e308", b"-999", b"\xc3\xa4", b"1_0"]
                    )
                )
            case _:
                data += data[place : place + 60]
    return bytes(data)


def codes_in(store: Path) -> dict[str, list[float]]:
    snapshot = EmbeddingStore.open(store).snapshot()
    (key,) = snapshot.code_sets
    codes = snapshot.codes(key)
    return dict(zip(codes.case_ids, codes.codes_nd.tolist(), strict=True))


def checked(*arguments: object) -> int:
    """The exit code of a command, once it is a documented one, said in a sentence, in bounded memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = guidestore(*arguments)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert done.returncode in CODES, done.stderr
    assert "Traceback" not in done.stderr
    assert "[Errno" not in done.stderr
    assert grown < MOST_MEMORY
    assert isinstance(done.returncode, int)
    return done.returncode


MORE = int(os.environ.get("MUTATIONS", "1"))
"""How many times as many examples, of fresh seeds, than the gate has: ``MUTATIONS=100 pytest …``."""
FEW = settings(
    max_examples=20 * MORE,
    deadline=20_000,
    derandomize=MORE == 1,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", FORMATS)
def test_codes(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole, reference = FORMATS[name]

    @FEW
    @given(mutated(whole))
    def bring(data: bytes) -> None:
        folder = tmp_path_factory.mktemp("mutated")
        file = folder / f"codes.{name}"
        file.write_bytes(data)
        (folder / "ids.txt").write_text("\n".join(IDS))
        ids = ("--ids", folder / "ids.txt") if name == "npy" else ()
        store = folder / "store"
        command = ("import", file, "--cohort", "c", "--modality", "m", "--encoder", "e", "--store", store)
        if checked(*command, *ids) != 0:
            return
        found = codes_in(store)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = reference(data)
        except (ValueError, KeyError, IndexError, UnicodeDecodeError, csv.Error, pa.ArrowException, OSError, TypeError):
            assert name == "csv", "only of text are there dialects that the plain reader does not know"
            return
        assert set(found) == set(expected)
        for case, row in found.items():
            np.testing.assert_array_equal(
                np.array(row, np.float32), np.array(expected[case], np.float64).astype(np.float32)
            )

    bring()


@pytest.mark.parametrize("door", ["--labels", "--splits", "--images", "--ids", "sweep", "predict"])
def test_other_doors(door: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("doors")
    store = folder / "store"
    (folder / "codes.csv").write_bytes(of_csv())
    np.save(folder / "codes.npy", VALUES)
    names = ("--cohort", "c", "--modality", "m", "--encoder", "e", "--store", store)
    assert guidestore("import", folder / "codes.csv", *names).returncode == 0
    whole: dict[str, str] = {
        "--labels": "case_id,grade\n" + "".join(f"{case},{'ab'[i % 2]}\n" for i, case in enumerate(IDS)),
        "--splits": "case_id,split,fold,part\n" + "".join(f"{case},s,0,train\n" for case in IDS),
        "--images": "case_id,modality,path,mpp\n" + "".join(f"{case},mri_t1,{case}.nii,0.5\n" for case in IDS),
        "--ids": "case_id\n" + "\n".join(IDS) + "\n",
        "sweep": "name: s\ncohort: c\ntargets: [grade]\ninferior: [m/e]\nsuperior: [m/e]\nsplit: s\nfolds: [0]\n"
        "guidance: [ridge]\ndecoder: [logistic]\nseeds: [0]\n",
        "predict": of_csv().decode(),
    }

    @FEW
    @given(mutated(whole[door].encode()))
    def knock(data: bytes) -> None:
        file = folder / ("given.yaml" if door == "sweep" else "given.csv")
        file.write_bytes(data)
        commands: dict[str, tuple[Any, ...]] = {
            "--ids": ("import", folder / "codes.npy", "--ids", file, *names[:-2], "--store", folder / "of-ids"),
            "sweep": ("sweep", "plan", file, "--store", store),
            "predict": ("predict", "--codes", file, "--encoder", "e", "--store", store),
        }
        adding = ("cohort", "add", "manifest", "c", door, file, "--dry-run", "--store", store)
        checked(*commands.get(door, adding))

    knock()
