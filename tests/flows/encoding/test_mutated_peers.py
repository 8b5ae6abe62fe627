"""One thing wrong in a folder of another tool: it is refused or told in a sentence, never a wrong number in silence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_folder import import_folder
from guidestore.flows.encoding.import_settings import FolderSettings
from tests import peer_folders as peers
from tests.peer_folders import D, changed, features, places, slides_table, trident_slide

TRIDENT = "20x_256px_0px_overlap/features_uni_v1"


def h5(place: str, change: Callable[[h5py.File], Any]) -> Callable[[Path], Any]:
    return lambda folder: changed(next(folder.glob(f"**/{place}")), change)


def attribute(place: str, where: str, name: str, value: Any) -> Callable[[Path], Any]:
    def change(file: h5py.File) -> None:
        (file[where] if where else file).attrs[name] = value

    return h5(place, change)


def remade(place: str, name: str, values: np.ndarray) -> Callable[[Path], Any]:
    """Another array of that name, with the attributes of the old one."""

    def change(file: h5py.File) -> None:
        told = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(told)

    return h5(place, change)


def renamed(place: str, old: str, new: str) -> Callable[[Path], Any]:
    return h5(place, lambda file: file.move(old, new))


def remade_bare(place: str, name: str, values: np.ndarray) -> Callable[[Path], Any]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return lambda folder: changed(folder / place, change)


def meta(slide: str, **values: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        file = folder / "tile_embeddings" / f"{slide}.meta.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


def another_trident(**told: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        trident_slide(folder / TRIDENT / "S2-1.h5", features("S2-1", dtype=np.float16), places(), "uni_v1", **told)

    return change


def external(folder: Path) -> None:
    secret = folder.parent / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["features"] = features("secret", dtype=np.float16)

    def change(file: h5py.File) -> None:
        del file["features"]
        file["features"] = h5py.ExternalLink(str(secret), "/features")

    changed(folder / TRIDENT / "S2-1.h5", change)


def virtual(folder: Path) -> None:
    secret = folder.parent / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["features"] = features("secret", dtype=np.float16)

    def change(file: h5py.File) -> None:
        del file["features"]
        layout = h5py.VirtualLayout((20, D), np.float16)
        layout[:] = h5py.VirtualSource(secret, "features", (20, D))
        file.create_virtual_dataset("features", layout)

    changed(folder / TRIDENT / "S2-1.h5", change)


def raw_elsewhere(folder: Path) -> None:
    (folder.parent / "raw.bin").write_bytes(bytes(20 * D * 2))

    def change(file: h5py.File) -> None:
        del file["features"]
        where = [(str(folder.parent / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("features", (20, D), np.float16, external=where)

    changed(folder / TRIDENT / "S2-1.h5", change)


def soft(file: h5py.File) -> None:
    file.move("features", "other")
    file["features"] = h5py.SoftLink("/other")


def unwritten(file: h5py.File) -> None:
    del file["features"]
    file.create_dataset("features", (20, D), np.float16, chunks=(1, D))[:12] = 1


def bomb(file: h5py.File) -> None:
    del file["features"]
    file.create_dataset("features", (2_000_000_000, D), np.float16, chunks=(1024, D), compression="gzip")


def truncated(folder: Path) -> None:
    file = folder / TRIDENT / "S2-1.h5"
    os.truncate(file, file.stat().st_size // 2)


def two_sites(folder: Path) -> None:
    for site in ("a", "b"):
        (folder / site).mkdir()
    for path in list(folder.glob("*.h5")):
        path.rename(folder / "a" / path.name)
    (folder / "b" / "S1-1.h5").write_bytes((folder / "a" / "S1-1.h5").read_bytes())


def two_suffixes(folder: Path) -> None:
    np.save(folder / "S1-1.npy", features("S1-1"))


def level0_of_scale_4(folder: Path) -> None:
    for file in (folder / "patches").iterdir():
        changed(file, lambda handle: handle["coords"].attrs.update(patch_level=0, downsample=np.array([4.0, 4.0])))


def other_patches(folder: Path) -> None:
    file = folder / TRIDENT.partition("/")[0] / "patches" / "S2-1_patches.h5"
    file.parent.mkdir(exist_ok=True)
    with h5py.File(file, "w") as handle:
        handle["coords"] = places() + 64


def states(folder: Path) -> None:
    peers.trident_states(folder, mpp=250.0)


def two_tools(folder: Path) -> None:
    peers.clam(folder)


def manifest(change: Callable[[pd.DataFrame], Any]) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        frame = pd.read_csv(folder / "manifest.csv")
        frame = change(frame)
        frame.to_csv(folder / "manifest.csv", index=False)

    return apply


def saved(place: str, value: Any) -> Callable[[Path], Any]:
    return lambda folder: torch.save(value, next(folder.glob(f"**/{place}")))


def attributes(key: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], Any]:
    """Of LazySlide's zarr.json."""

    def apply(folder: Path) -> None:
        file = folder / "S2-1.zarr" / "zarr.json"
        said = json.loads(file.read_text())
        change(said["attributes"][key])
        file.write_text(json.dumps(said))

    return apply


def tiling(**values: Any) -> Callable[[Path], Any]:
    return attributes("tile_spec", lambda said: said["tiles"].update(values))


def polygons(edge: float, scale: float = 1) -> Callable[[Path], Any]:
    """Squares of another size, at other places."""

    def change(folder: Path) -> None:
        file = folder / "S2-1.zarr" / "shapes" / "tiles" / "shapes.parquet"
        table = pq.read_table(file)
        squares = []
        for polygon in table["geometry"].to_pylist():
            x, y = np.frombuffer(polygon, "<f8", 10, 13).reshape(5, 2).min(axis=0) * scale
            corners = [(x + edge, y), (x + edge, y + edge), (x, y + edge), (x, y), (x + edge, y)]
            squares.append(polygon[:13] + np.array(corners, "<f8").tobytes())
        pq.write_table(table.set_column(1, "geometry", pa.array(squares)), file)

    return change


def ids_of_shapes(values: list[Any]) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        file = folder / "S2-1.zarr" / "shapes" / "tiles" / "shapes.parquet"
        pq.write_table(pq.read_table(file).set_column(0, "tile_id", pa.array(values)), file)

    return change


def no_tile_id(folder: Path) -> None:
    shutil.rmtree(folder / "S2-1.zarr" / "tables" / "gigapath_tiles" / "obs" / "tile_id")


def older_zarr(folder: Path) -> None:
    (folder / "S2-1.zarr" / "zarr.json").rename(folder / "S2-1.zarr" / ".zgroup")


def every(pattern: str, change: Callable[[h5py.File], None]) -> Callable[[Path], Any]:
    return lambda folder: [changed(file, change) for file in folder.glob(pattern)] and None


def shuffled(folder: Path) -> None:
    x, y = places().T
    index = np.arange(20)[::-1]
    np.savez(folder / "tiles" / "S2-1.coordinates.npz", tile_index=index, x=x, y=y)


def lost_meta(folder: Path) -> None:
    (folder / "tile_embeddings" / "S2-1.meta.json").unlink()


def unlisted(folder: Path) -> None:
    torch.save(torch.zeros(3, D), folder / "S9.pt")


def other_sample(folder: Path) -> None:
    (folder / "config.yaml").write_text("sample_col: block_id\n")


def lost_chunk(folder: Path) -> None:
    next((folder / "S2-1.zarr" / "tables" / "gigapath_tiles" / "X" / "c").rglob("0")).rename(folder / "away")


def pickle_codec(folder: Path) -> None:
    file = folder / "S2-1.zarr" / "tables" / "gigapath_tiles" / "X" / "zarr.json"
    said = json.loads(file.read_text())
    said["codecs"] = [{"name": "numcodecs.pickle", "configuration": {}}]
    file.write_text(json.dumps(said))


def config(**values: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        said = json.loads((folder / "bags_config.json").read_text())
        (folder / "bags_config.json").write_text(json.dumps(said | values))

    return change


def both(*changes: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda folder: [change(folder) for change in changes] and None


def deeper(old: str, new: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (folder / new).parent.mkdir(parents=True)
        (folder / old).rename(folder / new)

    return change


def geometry(slide: str, **tiling: Any) -> Callable[[Path], Any]:
    """Of slide2vec's slide: what hs2p says of its tiling."""

    def change(folder: Path) -> None:
        said = {"slide": {"base_spacing_um": peers.MPP}, "tiling": tiling}
        (folder / "tiles" / f"{slide}.coordinates.meta.json").write_text(json.dumps(said))

    return change


def table(text: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (folder.parent / "slides.csv").write_text(text)

    return change


S2 = "S2-1.h5"
half = features("S2-1", dtype=np.float16)
tall = places()[:, ::-1] * 4
stopped = np.where(np.arange(20)[:, None] < 12, half, 0).astype(np.float16)
wide = np.hstack([places(), np.full((20, 2), 512), np.zeros((20, 1), int)]).astype(np.int32)

MUTANTS: dict[str, tuple[Any, Callable[[Path], Any], dict[str, Any], str]] = {
    # TRIDENT
    "features under another key": (peers.trident, renamed(S2, "features", "feats"), {}, "holds no 'features'"),
    "no coords": (peers.trident, h5(S2, lambda file: file.pop("coords")), {}, "holds no 'coords'"),
    "features are whole numbers": (peers.trident, remade(S2, "features", half.astype(np.int32)), {}, "is int32"),
    "features of three axes": (peers.trident, remade(S2, "features", half[None]), {}, r"shape \(1, 20, 12\)"),
    "features are float64": (peers.trident, remade(S2, "features", half.astype(float)), {}, "float64.*as float32"),
    "features of another width": (peers.trident, remade(S2, "features", half[:, :7]), {}, "two encoders do not mix"),
    "features are float32 in one file": (
        peers.trident, remade(S2, "features", features(S2)), {}, "float16 in some files and float32",
    ),
    "features hold NaN": (
        peers.trident, remade(S2, "features", half * np.float16(np.nan)), {}, "not finite in 20 rows",
    ),
    "features overflowed": (peers.trident, remade(S2, "features", np.full_like(half, np.inf)), {}, "float16 overflow"),
    "fewer coords than features": (peers.trident, remade(S2, "coords", places(19)), {}, "must agree in tiles"),
    "coords of three columns": (peers.trident, remade(S2, "coords", np.zeros((20, 3), int)), {}, r"\(20, 3\)"),
    "coords are y, x": (peers.trident, remade(S2, "coords", tall), {}, r"order \(x, y\), or of another slide"),
    "coords in um": (peers.trident, remade(S2, "coords", places() * 0.499), {}, "another unit, as um"),
    "coords far away": (peers.trident, remade(S2, "coords", places() + 2**40), {}, "another unit"),
    "coords before the slide": (peers.trident, remade(S2, "coords", places() - 5000), {}, "left of or above"),
    "tiles at one place": (peers.trident, remade(S2, "coords", places() * 0), {}, "lie where another lies"),
    "sizes say None": (peers.trident, another_trident(patch_size_level0=None), {}, "does not say the size"),
    "sizes are floats": (peers.trident, another_trident(patch_size_level0=256.0), {}, "nothing says its um per pixel"),
    "another tile": (peers.trident, another_trident(patch_size=512), {}, "says px 512, and lies in"),
    "another magnification": (peers.trident, another_trident(target_magnification=40), {}, "says magnification 40"),
    "another overlap": (peers.trident, another_trident(overlap=64), {}, "says overlap 64"),
    "level-0 tile of a level": (
        peers.trident, another_trident(patch_size_level0=1024), {}, "patch_size_level0 is 1024",
    ),
    "another slide's file": (peers.trident, another_trident(name="S1-1"), {}, "says that it is slide S1-1"),
    "another encoder": (peers.trident, attribute(S2, "features", "encoder", "gigapath"), {}, "encoder is gigapath"),
    "external link": (peers.trident, external, {}, "link to elsewhere, which is not followed"),
    "soft link": (peers.trident, h5(S2, soft), {}, "link to elsewhere"),
    "virtual data set": (peers.trident, virtual, {}, "lie in other files, which are not followed"),
    "raw data elsewhere": (peers.trident, raw_elsewhere, {}, "lie in other files, which are not followed"),
    "rows were never written": (peers.trident, h5(S2, unwritten), {}, "was not written whole"),
    "a claim of 48 GB": (peers.trident, h5(S2, bomb), {}, "more than any slide"),
    "truncated": (peers.trident, truncated, {}, "cannot be read as HDF5"),
    "no HDF5": (peers.trident, lambda f: (f / TRIDENT / S2).write_bytes(b"PK??"), {}, "cannot be read as HDF5"),
    "mpp in nm": (peers.trident, states, {}, "nothing says its um per pixel"),
    "coords of another level": (peers.trident, remade(S2, "coords", places() // 2), {}, "tiles lie 128 pixels apart"),
    "coords are numbers of the grid": (peers.trident, remade(S2, "coords", places() // 256), {}, "tiles lie 1 pixels"),
    "coords of a margin": (peers.trident, remade(S2, "coords", places() - 200), {}, r"tiles begin at \[-200, "),
    "coords in bytes": (peers.trident, remade(S2, "coords", places().astype(np.uint8)), {}, "lie where another lies"),
    "patches of another run": (peers.trident, other_patches, {}, r"patches.h5 have other coords from tile 0 on"),
    "features of another slide's name": (
        peers.trident, attribute(S2, "features", "name", "S1-1"), {}, "says that it is slide S1-1",
    ),
    "magnification is text": (
        peers.trident, attribute(S2, "coords", "level0_magnification", "20x"), {}, "is '20x', which is no such number",
    ),
    "a line break in a name": (
        peers.trident, lambda f: (f / TRIDENT / S2).rename(f / TRIDENT / "S\n.h5"), {}, r"'S\\n.h5', a name of signs",
    ),
    "a suffix in capitals": (
        peers.trident, lambda f: (f / TRIDENT / S2).rename(f / TRIDENT / "S2-1.H5"), {}, "S2-1.H5 .* rename it to end",
    ),
    "a link to nothing": (
        peers.trident, lambda f: (f / TRIDENT / "S9.h5").symlink_to("gone.h5"), {}, "S9.h5 is a link to nothing",
    ),
    "two tools in one folder": (peers.trident, two_tools, {}, "features of CLAM and of TRIDENT"),
    "features are all the same": (
        peers.trident, remade(S2, "features", half * 0), {}, "20 tiles have one and the same",
    ),
    "features of another slide": (
        peers.eva, lambda f: (f / "S2-1.pt").write_bytes((f / "S1-1.pt").read_bytes()), {}, "those of S1-1 to the byte",
    ),
    "mpp of another magnification": (
        peers.trident, lambda f: peers.trident_states(f, mpp=0.12), {}, "0.12 um per pixel and 20x do not go together",
    ),
    "features are zeros from a row on": (peers.trident, remade(S2, "features", stopped), {}, "zeros alone for 8 tiles"),
    "coords without features": (peers.trident, remade(S2, "features", half[:0]), {}, "names 20 tiles, and features"),
    "mpp of a scan at 40x": (
        peers.trident, lambda f: peers.trident_states(f, mpp=0.25), {}, "0.25 um per pixel and 20x do not go together",
    ),
    "coords in half precision": (
        peers.trident, remade(S2, "coords", places().astype(np.float16)), {}, "float16, which rounds places beyond 2,0",
    ),
    "coords in 16 bits": (
        peers.trident, remade(S2, "coords", places().astype(np.uint16)), {}, "uint16, which holds no place beyond 65,",
    ),
    "coords are flags": (peers.trident, remade(S2, "coords", places() > 0), {}, "coords are bool, and places are"),
    "a size of two lengths": (
        peers.trident, attribute(S2, "coords", "patch_size_level0", np.array([256, 128])), {}, "is .256, 128., which",
    ),
    "files deeper in the folder": (
        peers.trident, deeper(f"{TRIDENT}/S2-1.h5", f"{TRIDENT}/P2/S2-1.h5"), {}, "P2/S2-1.h5: in a folder within, and",
    ),
    "one slide's features are a .pt": (
        peers.trident, lambda f: (f / TRIDENT / S2).rename(f / TRIDENT / "S2-1.pt"), {}, "S2-1.pt: not read, for TRID",
    ),
    "patches of a slide without features": (
        peers.trident, both(other_patches, lambda f: (f / TRIDENT / S2).unlink()), {},
        "patches/ has slides without features, blank or not done: S2-1",
    ),
    "one slide of two scans": (
        peers.trident, both(
            lambda f: (f / TRIDENT / "S2-1.ndpi.h5").write_bytes((f / TRIDENT / S2).read_bytes()),
            lambda f: (f / TRIDENT / S2).rename(f / TRIDENT / "S2-1.svs.h5"),
        ), {}, "S2-1.ndpi.h5 and .*S2-1.svs.h5 are both of slide S2-1 of slides.csv",
    ),
    # CLAM
    "a level below 0": (
        peers.clam, every("patches/*.h5", lambda f: f["coords"].attrs.update(patch_level=-1)), {}, "numbered from 0",
    ),
    "half a level": (
        peers.clam, every("patches/*.h5", lambda f: f["coords"].attrs.update(patch_level=1.5)), {}, "patch_level 1.5",
    ),
    "a level that is not smaller": (
        peers.clam, every("patches/*.h5", lambda f: f["coords"].attrs.update(downsample=np.array([1.0, 1.0]))), {},
        "patch_level 1 and downsample 1, and level 0 alone has 1",
    ),
    "patches of a slide without tensors": (
        lambda place: peers.clam(place, h5=False), lambda f: (f / "pt_files/S2-1.pt").unlink(), {},
        "patches/ has slides without features, blank or not done: S2-1",
    ),
    "patches of another slide": (
        peers.clam, attribute("patches/S2-1.h5", "coords", "name", "S1-1"), {}, "says that it is of slide S1-1",
    ),
    "tiles overlap by their size": (
        peers.clam, every("patches/*.h5", lambda f: f["coords"].attrs.update(patch_size=512)), {}, "size says 1024",
    ),
    "patches of another tiling": (
        peers.clam, remade("patches/S2-1.h5", "coords", places(19)), {}, "19 places, and .* 20: they are of two",
    ),
    "tiles that are not square": (
        peers.clam, attribute("patches/S2-1.h5", "coords", "downsample", np.array([2.0, 4.0])), {}, "not square",
    ),
    "dictionary in a .pt": (
        lambda place: peers.clam(place, h5=False),
        saved("S2-1.pt", {"features": torch.zeros(3, D)}), {}, "holds a dict",
    ),
    "numpy in a .pt": (
        lambda place: peers.clam(place, h5=False), saved("S2-1.pt", features("x")), {}, "pickle of a numpy array",
    ),
    "tensor of one stored number": (
        lambda place: peers.clam(place, h5=False),
        saved("S2-1.pt", torch.zeros(1, 1).expand(20, D)), {}, "not stored as",
    ),
    "another cut": (
        peers.clam, attribute("patches/S2-1.h5", "coords", "patch_size", 512), {}, "two settings do not mix",
    ),
    "patches lack the level": (
        peers.clam, h5("patches/S2-1.h5", lambda f: f["coords"].attrs.pop("downsample")), {}, "lacks patch_size",
    ),
    "a .pt of other rows": (peers.clam, saved("S2-1.pt", torch.from_numpy(features("S2-1")).flip(0)), {}, "two runs"),
    "a .pt of fewer rows": (
        peers.clam, saved("S2-1.pt", torch.from_numpy(features("S2-1"))[:9].clone()), {}, "20 and 9 tiles: they are",
    ),
    "a dictionary beside the .h5": (peers.clam, saved("S2-1.pt", {"x": torch.zeros(1)}), {}, "holds a dict of x"),
    "a conjugate tensor": (
        lambda place: peers.clam(place, h5=False),
        saved("S2-1.pt", (torch.ones(20, D) * 1j).conj()), {}, "complex64 that numpy cannot hold",
    ),
    "patches lack a slide": (peers.clam, lambda f: (f / "patches" / S2).unlink(), {}, "S2-1: patches/ lacks them"),
    "level 0 is scaled": (
        peers.clam, level0_of_scale_4, {}, "says patch_level 0 and downsample 4",
    ),
    "patches in another order": (
        peers.clam, remade("patches/S2-1.h5", "coords", places()[::-1]), {}, "other coords from tile 0 on",
    ),
    "no name of the encoder": (peers.clam, lambda _: None, {"encoder": ""}, "give --encoder"),
    # STAMP
    "a version that is none": (peers.stamp, attribute(S2, "", "stamp_version", "nightly"), {}, "which is none"),
    "newer STAMP": (peers.stamp, attribute(S2, "", "stamp_version", "3.0.0"), {}, "newer than 2.5"),
    "unit is px": (peers.stamp, attribute(S2, "", "unit", "px"), {}, "says unit 'px'"),
    "pixels as um": (peers.stamp, remade(S2, "coords", places(edge=514).astype(np.float32)), {}, "lie 514 apart"),
    "no tile size": (peers.stamp, h5(S2, lambda file: file.attrs.pop("tile_size_um")), {}, "a tile of no um"),
    "another code": (peers.stamp, attribute(S2, "", "code_hash", "ffffffff"), {}, "is of code_hash ffffffff"),
    "another extractor": (peers.stamp, attribute(S2, "", "extractor", "uni"), {}, "features of ctranspath and of uni"),
    "another type": (peers.stamp, attribute(S2, "", "feat_type", "patient"), {}, "codes of patients and of tiles"),
    "coords are NaN": (peers.stamp, remade(S2, "coords", places() * np.nan), {}, "not finite"),
    "coords are whole um": (peers.stamp, remade(S2, "coords", places(edge=256).astype(int)), {}, "coords are int64"),
    "a negative tile": (peers.stamp, attribute(S2, "", "tile_size_um", -256.0), {}, "a tile of -256.0 um"),
    "feats under another key": (peers.stamp, renamed(S2, "feats", "features"), {}, "1 files of .* hold no feats"),
    "code of a slide is a matrix": (
        lambda place: peers.stamp(place, "slide"), remade(S2, "feats", features(S2)), {"encoder": ""},
        "a code of a slide is float",
    ),
    "a folder of another extractor": (
        peers.stamp, lambda f: (f / "ctranspath-1234abcd").rename(f / "uni-1234abcd"), {}, "features of ctranspath, as",
    ),
    "an mpp of a thumbnail": (peers.stamp, lambda _: None, {"mpp": 50.0}, "enlarged 37 times"),
    "a code of zeros": (
        lambda place: peers.stamp(place, "patient"), remade("P2.h5", "feats", np.zeros(D, np.float32)),
        {"encoder": ""}, "P2 is all zeros",
    ),
    "cases by capitals": (
        lambda place: peers.stamp(place, "patient"),
        lambda f: (f / "ctranspath-1234abcd/P2.h5").rename(f / "ctranspath-1234abcd/p1.h5"),
        {"encoder": ""}, "in capitals alone",
    ),
    "the first .h5 is none": (
        peers.stamp, lambda f: (f / "ctranspath-1234abcd/S1-1.h5").write_bytes(b""), {}, "S1-1.h5 is no HDF5 file",
    ),
    "coords in half precision, in um": (
        peers.stamp, remade(S2, "coords", (places(edge=514) * 0.499).astype(np.float16)), {}, "float16, which rounds",
    ),
    "a code beyond float32": (
        lambda place: peers.stamp(place, "patient"), remade("P2.h5", "feats", np.full(D, 1e300)),
        {"encoder": ""}, "P2.h5: codes overflow float32",
    ),
    # eva
    "a file that the manifest lacks": (peers.eva, unlisted, {}, "does not name 1 .pt files, left out: S9.pt"),
    "a slide in two parts": (
        peers.eva, manifest(lambda f: pd.concat([f, f.tail(1).assign(split="val")])), {}, "in train and in val",
    ),
    "a case in two parts": (
        peers.eva, manifest(lambda f: f.assign(split=["train", "train", "train", "test"])), {}, "in two parts .P3.",
    ),
    "a part of its own": (peers.eva, manifest(lambda f: f.assign(split="fit")), {}, "split is 'fit'"),
    "a file outside": (peers.eva, manifest(lambda f: f.assign(embeddings="../x.pt")), {}, "lies outside of the folder"),
    "a file that is gone": (peers.eva, lambda f: (f / "S2-1.pt").unlink(), {}, "there is no file S2-1.pt"),
    "no rows in a .pt": (peers.eva, saved("S2-1.pt", torch.zeros(0, D)), {}, "BLANK S2-1"),
    "tensors of two widths": (
        peers.eva, saved("S2-1.pt", [torch.zeros(D), torch.zeros(D + 1)]), {}, "tensors of different shapes",
    ),
    # LazySlide
    "tiles of other ids": (
        peers.lazyslide, lambda f: (f / "S2-1.zarr/shapes/tiles/shapes.parquet").write_bytes(
            (f / "S1-1.zarr/shapes/tiles/shapes.parquet").read_bytes()[:-9]), {}, "cannot be read",
    ),
    "tiles of another size": (peers.lazyslide, polygons(512), {}, "is 512 x 512 level-0 pixels, and tile_spec"),
    "tiles of a level": (peers.lazyslide, polygons(128, 0.5), {}, "is 128 x 128 level-0 pixels"),
    "tiles are not square": (peers.lazyslide, tiling(height=128), {}, "256 x 128, and tiles that are not square"),
    "tiles of another um": (peers.lazyslide, tiling(mpp=1.0), {}, "settings do not mix|256 um wide"),
    "ids are text": (peers.lazyslide, ids_of_shapes(list(map(str, range(20)))), {}, "tile_id is object, and no whole"),
    "rows without their tile": (peers.lazyslide, no_tile_id, {}, "obs/tile_id has no zarr.json"),
    "an older zarr": (peers.lazyslide, older_zarr, {}, "S2-1.zarr: no SpatialData of zarr 3"),
    "lost chunk": (peers.lazyslide, lost_chunk, {}, "lacks a chunk, which would read as zeros"),
    "pickled codec": (peers.lazyslide, pickle_codec, {}, "which is not read"),
    "another tile width": (
        peers.lazyslide, attributes("tile_spec", lambda said: said["tiles"].update(width=512, height=512)),
        {}, "settings do not mix",
    ),
    "slide of other size": (
        peers.lazyslide, attributes("slide_properties", lambda said: said.update(shape=[100, 100])),
        {}, "level 0 has 100",
    ),
    "mpp of another slide": (
        peers.lazyslide, attributes("slide_properties", lambda said: said.update(mpp=0.12)), {}, "do not go together",
    ),
    "an mpp of each axis": (
        peers.lazyslide, attributes("slide_properties", lambda said: said.update(mpp=[0.5, 0.25])), {},
        "nothing says its um per pixel",
    ),
    "another step down than across": (
        peers.lazyslide, tiling(stride_height=128), {}, "S2-1: tiles overlap by 0 px across and 128 px down",
    ),
    "a slide deeper in the folder": (
        peers.lazyslide, deeper("S2-1.zarr", "P2/S2-1.zarr"), {}, "P2/S2-1.zarr: in a folder within, and not read",
    ),
    # AtlasPatch, slide2vec, marugoto
    "no size at level 0": (
        peers.atlas_patch, h5(S2, lambda f: f.attrs.pop("patch_size_level0")), {}, "does not say the size of its tiles",
    ),
    "a size of another magnification": (
        peers.atlas_patch, every("patches/*.h5", lambda f: f.attrs.update(target_magnification=40)), {}, "20x are 128",
    ),
    "rows of another size": (peers.atlas_patch, remade(S2, "coords", wide), {}, "512 x 512 level-0 pixels, and"),
    "rows of two sizes": (
        peers.atlas_patch, remade(S2, "coords", np.vstack([wide[:9], wide[9:] // 2])), {}, "of several sizes or levels",
    ),
    "metadata of another slide": (peers.slide2vec, meta("S2-1", sample_id="S1-1"), {}, "says that it is of S1-1"),
    "tiles in another order": (peers.slide2vec, shuffled, {}, "tile_index does not ascend"),
    "features without their metadata": (peers.slide2vec, lost_meta, {}, "1 files of tile_embeddings have no"),
    "tiles of another spacing": (
        peers.slide2vec, both(meta("S2-1", tile_size_lv0=1024), geometry("S2-1", tile_size_lv0=1024)), {},
        "to be 112 um wide",
    ),
    "a tiling of another size": (
        peers.slide2vec, geometry("S2-1", tile_size_lv0=512), {}, "256, and S2-1.coordinates.meta.json 512",
    ),
    "no size of a tile": (
        peers.slide2vec, both(meta("S2-1", tile_size_lv0=None), geometry("S2-1")), {}, "does not say the size of its",
    ),
    "places without features": (
        peers.slide2vec, lambda f: [path.unlink() for path in (f / "tile_embeddings").glob("S2-1*")], {},
        "tiles/ has slides without features, blank or not done: S2-1",
    ),
    "tiles numbered by text": (
        peers.slide2vec, lambda f: np.savez(
            f / "tiles/S2-1.coordinates.npz", tile_index=np.full(20, "a"), x=places()[:, 0], y=places()[:, 1]),
        {}, "tile_index does not ascend",
    ),
    "an .h5 that is none, of AtlasPatch": (
        peers.atlas_patch, lambda f: (f / "patches" / S2).write_bytes(b""), {}, "S2-1.h5 is no HDF5 file",
    ),
    "an .h5 that is none, of marugoto": (
        peers.marugoto, lambda f: (f / "S2-1.h5").write_bytes(b""), {}, "S2-1.h5 is no HDF5 file",
    ),
    "an .h5 without feats, of marugoto": (
        peers.marugoto, renamed("S2-1.h5", "feats", "x"), {}, "1 files of . hold no feats, left out: S2-1.h5",
    ),
    "places without features in AtlasPatch": (
        peers.atlas_patch, h5(S2, lambda f: f.pop("features")), {}, "1 files of patches hold places and no features",
    ),
    "an empty group of features": (
        peers.atlas_patch, h5(S2, lambda f: [f.pop("features"), f.create_group("features")]), {},
        "1 files of patches hold places and no features",
    ),
    "a distance that nobody knows": (
        peers.marugoto, remade("S2-1.h5", "coords", np.vstack([places(edge=448)] * 2)), {}, "tiles lie 448 apart",
    ),
    "metadata of other tiles": (
        peers.slide2vec, meta("S2-1", num_tiles=21), {}, "says 21 tiles, and S2-1.pt holds 20",
    ),
    "metadata of another kind": (
        peers.slide2vec, meta("S2-1", artifact_type="slide_embeddings"), {}, "and lies in tile_embeddings",
    ),
    "metadata of another encoder": (
        peers.slide2vec, meta("S2-1", encoder_name="uni"), {}, "features of prost40m and of uni",
    ),
    "features without their file": (
        peers.slide2vec, lambda f: (f / "tile_embeddings" / "S2-1.pt").unlink(), {}, "S2-1.pt, which is not there",
    ),
    "places of fewer tiles": (
        peers.slide2vec, lambda f: np.savez(f / "tiles" / "S2-1.coordinates.npz", x=np.arange(7), y=np.arange(7)),
        {}, "7 places",
    ),
    "augmented rows between others": (
        peers.marugoto, remade_bare("S2-1.h5", "augmented", np.arange(40) % 2 == 0), {}, "lie between others",
    ),
    "fewer flags than rows": (
        peers.marugoto, remade_bare("S2-1.h5", "augmented", np.zeros(7, bool)), {}, r"has the shape \(7,\)",
    ),
    # slideflow, plain files, Patho-Bench
    "no places of a slide": (peers.slideflow, lambda f: (f / "S2-1.index.npz").unlink(), {}, "there is no S2-1.index"),
    "places of a slide without features": (
        peers.slideflow, lambda f: (f / "S2-1.pt").unlink(), {}, "index.npz has slides without features, .*: S2-1",
    ),
    "places are complex": (
        lambda place: peers.plain(place, "npy"),
        lambda f: np.save(f / "S2-1_coords.npy", places().astype(complex)), {}, "coords are complex128, and places",
    ),
    "places are one number": (
        lambda place: peers.plain(place, "npy"), lambda f: np.save(f / "S2-1_coords.npy", np.float32(1)), {},
        "S2-1_coords.npy has 0 places, and S2-1.npy 20 tiles",
    ),
    "places of a plain slide in um": (
        lambda place: peers.plain(place, "h5"), attribute(S2, "coords", "unit", "um"), {}, "says unit 'um', and coords",
    ),
    "features of two names": (
        lambda place: peers.plain(place, "h5"), h5(S2, lambda f: f.create_dataset("embedding", data=np.ones((2, 2)))),
        {}, "S2-1: features is read, and embedding not",
    ),
    "places of two names": (
        lambda place: peers.plain(place, "h5"), h5(S2, lambda f: f.create_dataset("coordinates", data=places())),
        {}, "S2-1: coords is read, and coordinates not",
    ),
    "not finite in float32": (
        lambda place: peers.plain(place, "h5"), remade(S2, "features", np.full((20, D), np.nan, np.float32)),
        {}, "not finite in 20 rows .first: 0.; encode the slide again",
    ),
    "a plain slide two folders deep": (
        lambda place: peers.plain(place, "h5"), deeper("S2-1.h5", "a/b/S2-1.h5"), {}, "a/b/S2-1.h5: in a folder within",
    ),
    "no places of a plain slide": (
        lambda place: peers.plain(place, "npy"), lambda f: (f / "S2-1_coords.npy").unlink(), {}, "S2-1: no coordinates",
    ),
    "places of no slide": (
        lambda place: peers.plain(place, "npy"), lambda f: np.save(f / "S9_coords.npy", places()), {}, "S9_coords",
    ),
    "a table beside": (
        lambda place: peers.plain(place, "npy"), lambda f: (f / "labels.csv").write_text("a\n"), {}, "labels.csv: ",
    ),
    "samples of another kind": (peers.patho_bench, other_sample, {}, "sample_col 'block_id'"),
    "no tile_px": (peers.slideflow, config(tile_px=None), {}, "nothing says its um per pixel"),
    "tile_um is a magnification": (peers.slideflow, config(tile_um="20x"), {"mpp": 0.5}, "places are left out"),
    "kinds of files": (lambda place: peers.plain(place, "h5"), two_suffixes, {}, "mixes 4 .h5 and 1 .npy"),
    "one stem twice": (lambda place: peers.plain(place, "h5"), two_sites, {}, "are both called S1-1"),
    "places of another slide": (
        lambda place: peers.plain(place, "npy"), lambda f: np.save(f / "S2-1_coords.npy", places(7)), {}, "7 places",
    ),
    "pickle in .npy": (
        lambda place: peers.plain(place, "npy"),
        lambda f: np.save(f / S2.replace("h5", "npy"),
        np.array([{}], object), allow_pickle=True), {}, "pickled objects",
    ),
    "nothing there": (lambda place: place.mkdir() or place, lambda _: None, {}, "no features that are known"),
    # The table of slides
    "a slide of two cases": (
        peers.trident, table("slide_id,case_id\nS1-1,P1\nS1-1,P2\n"), {}, "of case P2, and of P1",
    ),
    "mpp in the table is nm": (
        peers.trident, table("slide_id,case_id,mpp\nS1-1,P1,250\n"), {}, "250 is no um per pixel",
    ),
    "ids that a program rewrote": (
        peers.trident, table("slide_id,case_id\nS1-1,12.0\n"), {}, "a number that a program",
    ),
    "a patient of several cases": (
        peers.trident, table("slide_id,case_id,patient_id\nS1-1,P1,Q1\nS2-1,P2,Q1\nS3-1,P3,Q2\nS3-2,P3,Q2\n"), {},
        "case_id is taken as the case, and patient_id Q1 has several .P1, P2., .* --id-column patient_id",
    ),
    "none of the slides": (peers.trident, table("slide_id,case_id\nX,P1\n"), {}, "none of the files' slides"),
    "no column of slides": (peers.trident, table("case_id,label\nP1,1\n"), {}, "must have one of slides"),
}  # fmt: skip


SAYS_ITS_ENCODER = (
    peers.atlas_patch, peers.trident, peers.stamp, peers.lazyslide, peers.slideflow, peers.slide2vec, peers.marugoto,
)  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_it_is_refused_or_told(tmp_path: Path, name: str) -> None:
    make, mutate, options, said = MUTANTS[name]
    folder = make(tmp_path / "folder")
    slides = slides_table(tmp_path)
    mutate(folder)
    given = {
        "encoder": "" if make in SAYS_ITS_ENCODER else "e",
        **options,
    }
    mpp = {"mpp": given.pop("mpp", 0.499)} if make in (peers.stamp, peers.slideflow) and name != "no tile_px" else {}
    settings = FolderSettings(slides=slides, **mpp)
    store = EmbeddingStore.create(tmp_path / "store")
    try:
        reports = import_folder(store, folder, settings, cohort="c", modality="histology", **given)
    except GuidestoreError as error:
        told = [str(error)]
    else:
        told = [note for report in reports for note in (*report.notes, *report.failed.values())]
        told += [f"BLANK {name}" for report in reports for name in report.blank]
    matching = [text for text in told if pd.Series([text]).str.contains(said, regex=True)[0]]
    assert matching, told
    assert "\n" not in matching[0]
