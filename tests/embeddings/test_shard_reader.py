"""Our reader of shards against zarr's own, on random shards in both codecs, read in parts, and with flipped bits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from guidestore.embeddings import bags
from guidestore.embeddings.bags import read_bag, write_bag
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import Entry, FileRef
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.transaction import _tree_refs
from guidestore.embeddings.types import Bag

PATH = "objects/bag/ab/abc/0"


@st.composite
def shapes(draw) -> tuple[int, int, int, int]:
    """n, d, rows of a chunk, chunks of a shard."""
    return tuple(draw(st.integers(low, high)) for low, high in ((0, 70), (1, 5), (1, 9), (1, 4)))


def written(
    root: Path, shape: tuple[int, int, int, int], compressed: bool, dtype: type, seed: int
) -> tuple[Bag, Entry]:
    n, d, chunk_rows, chunks = shape
    rng = np.random.default_rng(seed)
    # Rows of zeros too: a chunk of nothing else must not read as a missing one.
    features_nd = (rng.normal(size=(n, d)) * (rng.random((n, 1)) < 0.7)).astype(dtype)
    bag = Bag(features_nd, rng.integers(-9, 90_000, (n, 2), dtype=np.int32), 0.5, 256, 512, 20.0)
    with (
        mock.patch.object(bags, "CHUNK_ROWS", chunk_rows),
        mock.patch.object(bags, "SHARD_ROWS", chunk_rows * chunks),
        mock.patch.object(bags, "_shrinks", return_value=compressed),
    ):
        (root / PATH).parent.mkdir(parents=True)
        write_bag(root / PATH, bag)
    return bag, Entry("abc", "bag", PATH, _tree_refs(root / PATH, PATH), case_id="C1")


@settings(deadline=None, max_examples=60)
@given(
    shape=shapes(),
    compressed=st.booleans(),
    dtype=st.sampled_from([np.float16, np.float32]),
    seed=st.integers(0, 99),
    rows=st.slices(70),
)
def test_it_reads_what_zarr_reads(shape, compressed, dtype, seed, rows):
    with tempfile.TemporaryDirectory() as folder:
        bag, entry = written(Path(folder), shape, compressed, dtype, seed)
        group = zarr.open_group(Path(folder) / PATH, mode="r")
        whole = {name: np.asarray(group[name][:]) for name in ("features", "coords")}  # pyright: ignore
        read = read_bag(LocalStorage(Path(folder)), entry, rows)
    assert whole["features"].tobytes() == bag.features_nd.tobytes()
    assert read.features_nd.tobytes() == whole["features"][rows].tobytes()
    assert read.coords_n2 is not None
    assert read.coords_n2.tobytes() == whole["coords"][rows].tobytes()


@settings(deadline=None, max_examples=60)
@given(shape=shapes(), compressed=st.booleans(), seed=st.integers(0, 99), place=st.data())
def test_a_flipped_bit_or_a_lost_byte_never_changes_what_is_read(shape, compressed, seed, place):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bag, entry = written(root, shape, compressed, np.float16, seed)
        victim: FileRef = place.draw(st.sampled_from(entry.files))
        damaged = bytearray((root / victim.path).read_bytes())
        at = place.draw(st.integers(0, len(damaged) - 1))
        if place.draw(st.booleans()):
            damaged[at] ^= 1 << place.draw(st.integers(0, 7))
        else:
            damaged[at:] = b"\0" * (len(damaged) - at)
        whole = bytes(damaged) == (root / victim.path).read_bytes()
        (root / victim.path).write_bytes(damaged)
        try:
            read = read_bag(LocalStorage(root), entry)
        except CorruptArtifactError:
            assert not whole
            return
    # Values as they are have no bit that no checksum covers; a frame of zstd has some that say nothing.
    assert whole or (compressed and "/c/" in victim.path)
    assert read.features_nd.tobytes() == bag.features_nd.tobytes()
    assert read.coords_n2 is not None
    assert bag.coords_n2 is not None
    assert read.coords_n2.tobytes() == bag.coords_n2.tobytes()
