"""Headers that no writer wrote, through the command line: codes, or quarantine, within bounds of memory and time."""

from __future__ import annotations

import gzip
import io
import resource
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.volume_files import read_header, read_voxels
from tests.commandline import guidestore

Edits = Sequence[tuple[int, bytes]]
"""Places in a file, and what is written there."""

MOST_MB, MOST_S = 400, 60.0
"""What one encode of a dozen small files may take beyond what was there."""

SPECIAL = tuple(
    np.array(value, kind).tobytes()
    for kind, values in {
        "<i2": (-1, 0, 1, 7, 32767, -32768, 128, 2304),
        ">i2": (3, 1000),
        "<i4": (-1, 0, 1 << 20, 1 << 30, 1 << 31 - 1),
        ">i4": (64, 1 << 16, 1 << 24, -1),
        "<f4": (0.0, -1.0, 1e-6, 1e9, np.nan, np.inf, 1e38, 0.001),
    }.items()
    for value in values
)


def nifti() -> bytes:
    inside = np.zeros((12, 10, 9), np.int16)
    inside[2:-2, 2:-2, 2:-2] = np.random.default_rng(0).integers(50, 900, (8, 6, 5))
    image = nib.Nifti1Image(inside, np.diag([3.0, 3, 4, 1]))
    image.set_qform(image.affine, 1)
    return image.to_bytes()


def picture(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, form)
        return file.getvalue()


def deep_tiff() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 64, 3), np.uint16)
    with io.BytesIO() as file:
        tifffile.imwrite(file, pixels, photometric="rgb", compression="deflate", tile=(32, 32))
        return file.getvalue()


def with_crcs(png: bytes) -> bytes:
    """The PNG with the checksums of its chunks made right, so that readers go on to what a chunk says."""
    parts, start = [png[:8]], 8
    while start + 12 <= len(png):
        length = int.from_bytes(png[start : start + 4])
        body = png[start + 4 : start + 8 + length]
        parts += [png[start : start + 4], body, zlib.crc32(body).to_bytes(4)]
        start += 12 + length
    return b"".join(parts)


def edited(content: bytes, edits: Edits) -> bytes:
    changed = bytearray(content)
    for place, value in edits:
        changed[place : place + len(value)] = value
    return bytes(changed[: max(len(content), 1)])


def edits(header_bytes: int) -> st.SearchStrategy[list[list[tuple[int, bytes]]]]:
    """For each of some files a few edits of its first bytes."""
    value = st.one_of(st.sampled_from(SPECIAL), st.binary(min_size=1, max_size=4))
    one = st.lists(st.tuples(st.integers(0, header_bytes - 1), value), min_size=1, max_size=3)
    return st.lists(one, min_size=12, max_size=12)


some = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example),
)
"""Of a dozen files each; not made smaller where one fails, which would take minutes."""


def encode(
    contents: dict[str, bytes], suffix: str, modality: str, encoder: str, most_mb: int = MOST_MB
) -> tuple[dict[str, Any], Path]:
    """case -> why it is in quarantine, or None for one that has a code; and the folder of the files."""
    folder = Path(tempfile.mkdtemp())
    for case, content in contents.items():
        (folder / f"{case}{suffix}").write_bytes(content)
    rows = [f"{case},{modality},{case}{suffix}" for case in contents]
    (folder / "images.csv").write_text("\n".join(["case_id,modality,path", *rows]))
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    place = ("--store", folder / "store")
    added = guidestore("cohort", "add", "manifest", "odd", "--images", folder / "images.csv", *place)
    assert added.returncode == 0, added.stderr
    done = guidestore("encode", "odd", "--modality", modality, "--encoder", encoder, *place)
    assert done.returncode in (0, 8), done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < MOST_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < most_mb * 1024
    snapshot = EmbeddingStore.open(folder / "store").snapshot()
    (key,) = snapshot.code_sets
    if key.kind == "codes":
        assert np.isfinite(snapshot.codes(key).codes_nd).all()
    outcome: dict[str, Any] = dict.fromkeys(entry.case_id for entry in snapshot.code_set_entries(key))
    outcome |= {row["case_id"]: row["reason"] for row in snapshot.rows("quarantine").to_pylist()}
    assert outcome.keys() == contents.keys()
    assert outcome["good"] is None
    assert all("\n" not in reason for reason in outcome.values() if reason)
    return outcome, folder


@pytest.mark.filterwarnings("ignore")  # libraries warn of broken metadata
@pytest.mark.parametrize("zipped", [pytest.param(False, marks=pytest.mark.slow), True])
def test_volumes(zipped: bool) -> None:
    whole = nifti()
    suffix = ".nii.gz" if zipped else ".nii"
    encode({"good": whole}, ".nii", "mri_t1", "first_order", most_mb=3000)  # libraries are loaded

    @some
    @given(edits(348))
    def through(files: list[Edits]) -> None:
        contents = {"good": whole} | {f"c{i}": edited(whole, changes) for i, changes in enumerate(files)}
        stored = {case: gzip.compress(content) if zipped else content for case, content in contents.items()}
        outcome, folder = encode(stored, suffix, "mri_t1", "first_order")
        for case in (case for case, reason in outcome.items() if not reason):
            path = folder / f"{case}{suffix}"
            reference: Any = nib.load(path)
            voxels = np.asarray(reference.dataobj, np.float32).reshape(reference.shape[:3])
            assert np.array_equal(read_voxels(read_header(path)), voxels)
            factor = {1: 1000.0, 3: 0.001}.get(int(reference.header["xyzt_units"]) & 7, 1.0)
            assert np.allclose(read_header(path).affine[:3], reference.affine[:3] * factor, rtol=1e-6)

    through()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "form",
    ["PNG", "TIFF", "deep TIFF", *(pytest.param(form, marks=pytest.mark.slow) for form in ("GIF", "JPEG", "WEBP"))],
)
def test_photographs(form: str) -> None:
    whole = deep_tiff() if form == "deep TIFF" else picture(form)
    # A TIFF's tags may stand at its end.
    header = 60 if form == "PNG" else 700 if form != "TIFF" else 140
    is_at_end = form == "TIFF"
    encode({"good": whole}, "", "clinical", "colour_texture", most_mb=3000)  # libraries are loaded

    @some
    @given(edits(min(header, len(whole))))
    def through(files: list[Edits]) -> None:
        contents = {"good": whole}
        for i, changes in enumerate(files):
            start = len(whole) - header if is_at_end and i % 4 else 0
            content = edited(whole, [(start + place, value) for place, value in changes])
            contents[f"c{i}"] = with_crcs(content) if form == "PNG" and i % 3 else content
        outcome, folder = encode(contents, "", "clinical", "colour_texture")
        if form != "deep TIFF":  # which tifffile reads
            for case in (case for case, reason in outcome.items() if not reason):
                with Image.open(folder / case) as image:
                    image.load()

    through()
