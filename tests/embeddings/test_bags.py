from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import Zstd

from guidestore.embeddings import bags
from guidestore.embeddings.bags import CHUNK_ROWS, SHARD_ROWS, read_bag
from guidestore.embeddings.errors import CorruptArtifactError, InvalidInputError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag
from tests.embeddings.making import bag_key, commit_bag, files_of, flips, make_bag, same_bag


def stored(store: EmbeddingStore, bag: Bag):
    artifact = commit_bag(store, bag)
    return store.snapshot().entry(artifact)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("n", [0, 1, 1023, 1024, 1025, 16_384, 40_000])
def test_a_bag_comes_back_bit_by_bit(store, n, dtype):
    bag = make_bag(n, seed=n, dtype=dtype)
    entry = stored(store, bag)
    assert entry.shape == (n, 8)
    assert entry.dtype == str(np.dtype(dtype))
    assert same_bag(read_bag(store.storage, entry), bag)
    shards = [file for file in entry.files if "/features/c/" in file.path]
    assert len(shards) == -(-n // SHARD_ROWS)


def test_facts_that_a_source_did_not_say_stay_unsaid(store):
    bag = Bag(np.ones((3, 8), np.float32), np.zeros((3, 2), np.int32))
    again = read_bag(store.storage, stored(store, bag))
    assert (again.mpp, again.magnification, again.tile_size_px) == (None, None, 0)


@pytest.mark.parametrize("n", [1, 2500, 17_000])
def test_all_zero_chunks_survive(store, n):
    zeros = Bag(np.zeros((n, 8), np.float16), np.zeros((n, 2), np.int32), 0.5)
    entry = stored(store, zeros)
    assert any("/features/c/" in file.path for file in entry.files)
    assert same_bag(read_bag(store.storage, entry), zeros)


def test_negative_zero_and_subnormal_values_survive(store):
    features_nd = np.full((2, 8), -0.0, np.float16)
    features_nd[1] = np.float16(6e-8)
    bag = Bag(features_nd, np.zeros((2, 2), np.int32))
    assert same_bag(read_bag(store.storage, stored(store, bag)), bag)


def test_a_missing_file_raises_with_its_path_and_never_reads_as_zeros(store, root):
    entry = stored(store, make_bag(17_000))
    assert len(entry.files) >= 5
    for file in entry.files:
        path = root / file.path
        hidden = path.read_bytes()
        path.unlink()
        with pytest.raises(CorruptArtifactError) as caught:
            read_bag(store.storage, entry)
        assert f"{file.path} is missing" in str(caught.value)
        assert "case C1" in str(caught.value)
        path.write_bytes(hidden)
    assert len(read_bag(store.storage, entry)) == 17_000


def test_a_missing_chunk_that_no_commit_listed_raises_too(store, root):
    # As if the commit had been written from a folder that lost a chunk before it was listed.
    entry = stored(store, make_bag(17_000))
    gone = next(file for file in entry.files if file.path.endswith("features/c/1/0"))
    (root / gone.path).unlink()
    forgetful = type(entry)(
        **{**{n: getattr(entry, n) for n in entry.__slots__}, "files": tuple(f for f in entry.files if f != gone)}
    )
    with pytest.raises(CorruptArtifactError, match="case C1"):
        read_bag(store.storage, forgetful)


def test_a_truncated_file_raises_with_its_path(store, root):
    entry = stored(store, make_bag(1500))
    for file in entry.files:
        path = root / file.path
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(CorruptArtifactError, match=f"{len(whole) - 1} bytes long instead of {len(whole)}"):
            read_bag(store.storage, entry)
        path.write_bytes(whole)


@pytest.mark.parametrize("compressible", [False, True])
def test_a_flipped_bit_anywhere_never_gives_wrong_codes(store, root, compressible):
    bag = make_bag(2600, 4, seed=3)
    if compressible:
        bag = Bag(np.maximum(bag.features_nd, 0), bag.coords_n2 // 512 * 512, 0.5, 256, 512, 20.0)
    entry = stored(store, bag)
    caught = tried = 0
    rng = np.random.default_rng(0)
    for file in entry.files:
        path = root / file.path
        whole = path.read_bytes()
        # The heads and tails of files hold frame headers and the shard index: all of their bits, then a sample.
        bits = len(whole) * 8
        sampled = {*range(min(64, bits)), *range(max(bits - 96, 0), bits), *rng.integers(0, bits, 40).tolist()}
        for bit, damaged in flips(whole, sorted(sampled)):
            path.write_bytes(damaged)
            tried += 1
            try:
                read = read_bag(store.storage, entry)
            except CorruptArtifactError as error:
                caught += entry.path in str(error)
            else:
                assert same_bag(read, bag), f"bit {bit} of {file.path} gave wrong data"
        path.write_bytes(whole)
    assert tried > 700
    assert caught > 0.98 * tried


@pytest.mark.parametrize(
    "part", [slice(0, 10), slice(1020, 1030), slice(2048, 2600), slice(5, 5), slice(None, None, 7)]
)
def test_a_part_of_a_bag_is_that_part(store, part):
    bag = make_bag(2600)
    read = read_bag(store.storage, stored(store, bag), part)
    assert read.features_nd.tobytes() == bag.features_nd[part].tobytes()
    assert read.coords_n2.tobytes() == bag.coords_n2[part].tobytes()


def test_a_part_of_a_bag_is_verified(store, root):
    bag = make_bag(3 * CHUNK_ROWS)
    entry = stored(store, bag)
    path = root / next(file.path for file in entry.files if "/features/c/" in file.path)
    whole = path.read_bytes()
    for bit, damaged in flips(whole, range(400, len(whole) * 8, len(whole) * 8 // 40)):
        path.write_bytes(damaged)
        for number in range(3):
            part = slice(number * CHUNK_ROWS, (number + 1) * CHUNK_ROWS)
            try:
                read = read_bag(store.storage, entry, part)
            except CorruptArtifactError:
                continue
            assert read.features_nd.tobytes() == bag.features_nd[part].tobytes(), bit


def codecs(root, entry, array: str = "features") -> list[str]:
    (sharding,) = json.loads((root / entry.path / array / "zarr.json").read_bytes())["codecs"]
    return [codec["name"] for codec in sharding["configuration"]["codecs"]]


def test_what_shrinks_by_a_fifth_is_compressed_and_the_rest_is_not(store, root):
    dense = make_bag(3000, 64)
    sparse = Bag(np.maximum(dense.features_nd, 0), dense.coords_n2 // 512 * 512)
    ids = {"dense": commit_bag(store, dense), "sparse": commit_bag(store, sparse, "C2")}
    entries = {name: store.snapshot().entry(artifact) for name, artifact in ids.items()}
    assert codecs(root, entries["dense"]) == ["bytes", "crc32c"]
    assert codecs(root, entries["sparse"]) == ["bytes", "zstd"]
    assert codecs(root, entries["sparse"], "coords") == ["bytes", "zstd"]
    sizes = {name: sum(f.size for f in e.files if "/features/c/" in f.path) for name, e in entries.items()}
    assert sizes["dense"] == 3072 * 64 * 2 + 3 * (4 + 16) + 4  # values, a checksum and an index row per chunk
    assert sizes["sparse"] < 0.7 * sizes["dense"]
    for name, bag in (("dense", dense), ("sparse", sparse)):
        read = read_bag(store.storage, entries[name])
        assert read.features_nd.tobytes() == bag.features_nd.tobytes()
        part = read_bag(store.storage, entries[name], slice(1000, 1100))
        assert part.features_nd.tobytes() == bag.features_nd[1000:1100].tobytes()


@pytest.mark.parametrize("kept", ["zstd", "crc32c"])
def test_zarr_reads_what_we_write_in_either_codec(store, root, kept, monkeypatch):
    monkeypatch.setattr(bags, "_shrinks", lambda values: kept == "zstd")
    bag = make_bag(1500, seed=4)
    entry = stored(store, bag)
    assert codecs(root, entry) == codecs(root, entry, "coords") == ["bytes", kept]
    group = zarr.open_group(root / entry.path, mode="r")
    for name, values in (("features", bag.features_nd), ("coords", bag.coords_n2)):
        assert np.asarray(group[name]).tobytes() == values.tobytes()
    assert same_bag(read_bag(store.storage, entry), bag)


def test_a_codec_that_we_do_not_know_is_told(store, root):
    entry = stored(store, make_bag(5))
    path = root / entry.path / "features/zarr.json"
    data = path.read_bytes().replace(b'"crc32c"', b'"blake3"', 1)
    path.write_bytes(data)
    file = FileRef(f"{entry.path}/features/zarr.json", len(data), hashlib.sha256(data).hexdigest())
    files = tuple(file if old.path == file.path else old for old in entry.files)
    with pytest.raises(CorruptArtifactError, match="names other codecs than format 1 has"):
        read_bag(store.storage, replace(entry, files=files))


@pytest.mark.parametrize("n", [0, 3, 2000])
def test_a_bag_without_coordinates_comes_back_without_them(store, root, n):
    bag = Bag(make_bag(n).features_nd, None)
    entry = stored(store, bag)
    assert not any("coords" in file.path for file in entry.files)
    read = read_bag(store.storage, entry)
    assert read.coords_n2 is None
    assert read.features_nd.tobytes() == bag.features_nd.tobytes()
    assert read_bag(store.storage, entry, slice(1, 3)).coords_n2 is None
    assert fsck(store.storage).findings == ()


def test_arrays_and_attributes_that_we_do_not_know_are_passed_over(store, root):
    bag = make_bag(5)
    entry = stored(store, bag)
    path = root / entry.path / "zarr.json"
    data = json.dumps({**(body := json.loads(path.read_bytes())), "attributes": {**body["attributes"], "stain": "HE"}})
    path.write_text(data)
    (root / entry.path / "mask").mkdir()
    (root / entry.path / "mask/zarr.json").write_bytes(b"{}")
    known = {file.path: file for file in entry.files}
    for name in ("zarr.json", "mask/zarr.json"):
        data = (root / entry.path / name).read_bytes()
        known[f"{entry.path}/{name}"] = FileRef(f"{entry.path}/{name}", len(data), hashlib.sha256(data).hexdigest())
    assert same_bag(read_bag(store.storage, replace(entry, files=tuple(known.values()))), bag)


@pytest.mark.parametrize("n", [0, 1, 200, 300, 65_000, 70_000])
def test_a_whole_frame_of_another_size_is_refused(n):
    # A shorter one would leave what was in memory as codes.
    frame = memoryview(bytes(Zstd(level=1, checksum=True).encode(np.ones(n, np.uint8).tobytes())))
    whole = np.zeros(n, np.uint8)
    if n:
        bags._decompress(frame, whole, "c/0/0")
        assert whole.all()
    for other in (n + 1, n - 1, 2 * n + 256):
        if other > 0:
            with pytest.raises(bags._DamageError, match=f"a chunk of c/0/0 does not hold {other} bytes"):
                bags._decompress(frame, np.zeros(other, np.uint8), "c/0/0")


def test_a_chunk_of_another_bag_is_refused(store, root):
    first = stored(store, make_bag(50, seed=1))
    artifact = commit_bag(store, make_bag(2000, seed=2), "C2")
    second = store.snapshot().entry(artifact)
    shutil.copyfile(root / second.path / "features/c/0/0", root / first.path / "features/c/0/0")
    with pytest.raises(CorruptArtifactError, match="bytes long instead of"):
        read_bag(store.storage, first)


def test_the_layout_is_the_documented_one(store, root):
    entry = stored(store, make_bag(1030))
    assert entry.path.startswith(f"objects/bag/{entry.artifact[:2]}/{entry.artifact}/")
    assert sorted(files_of(root / entry.path)) == [
        "coords/c/0/0",
        "coords/zarr.json",
        "features/c/0/0",
        "features/zarr.json",
        "zarr.json",
    ]
    assert not any(Path(file.path).is_absolute() for file in entry.files)


def test_a_bag_of_another_width_than_its_code_set_is_refused(store):
    with pytest.raises(InvalidInputError, match=r"case C1: the bag has 7 dimensions.*has 8"), store.begin() as t:
        t.write_bag(bag_key(8), "C1", "C1", make_bag(3, 7), input_digests=["x"])
    assert store.snapshot().version == 0
