"""Small folders in the layouts of other tools, written by h5py, torch, zarr and pandas as the tools themselves do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
import zarr

SLIDES = {"S1-1": "P1", "S2-1": "P2", "S3-1": "P3", "S3-2": "P3"}
"""Slide -> case: one case has two."""
D, EDGE, MPP = 12, 256, 0.499


def features(slide: str, n: int = 20, d: int = D, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(map(ord, slide))).normal(size=(n, d)).astype(dtype)


def places(n: int = 20, edge: int = EDGE) -> np.ndarray:
    """Level-0 pixels of a grid that is wider than high."""
    return np.stack([np.arange(n) % 10 * edge, np.arange(n) // 10 * edge], axis=1)


def slides_table(folder: Path, **columns: Any) -> Path:
    file = folder / "slides.csv"
    pd.DataFrame({"slide_id": list(SLIDES), "case_id": list(SLIDES.values()), **columns}).to_csv(file, index=False)
    return file


def trident(folder: Path, encoder: str = "uni_v1", dtype: Any = np.float16) -> Path:
    place = folder / "20x_256px_0px_overlap" / f"features_{encoder}"
    place.mkdir(parents=True)
    for slide in SLIDES:
        trident_slide(place / f"{slide}.h5", features(slide, dtype=dtype), places(), encoder)
    return folder


def trident_slide(file: Path, values: np.ndarray, coords: np.ndarray, encoder: str, **changed: Any) -> None:
    told = {
        "patch_size": 256,
        "patch_size_level0": 256,
        "level0_magnification": 20,
        "target_magnification": 20,
        "overlap": 0,
        "name": file.stem,
        "savetodir": "private/place",
        "level0_width": 2600,
        "level0_height": 600,
        **changed,
    }
    with h5py.File(file, "w") as handle:
        made = handle.create_dataset(
            "features", data=values, chunks=(1, *values.shape[1:]), maxshape=(None, *values.shape[1:])
        )
        made.attrs.update(encoder=encoder, name=file.stem, savetodir="private/place")
        handle.create_dataset("coords", data=coords.astype(np.int64), chunks=(1, 2), maxshape=(None, 2))
        handle["coords"].attrs.update({name: "None" if value is None else value for name, value in told.items()})


def trident_states(folder: Path, mpp: float = MPP) -> None:
    (folder / "wsi_states").mkdir()
    for slide in SLIDES:
        state = {"slide": {"name": slide, "abs_path": "private"}, "meta": {"mpp": mpp, "mag": 20}}
        (folder / "wsi_states" / f"{slide}__ab12.json").write_text(json.dumps(state))


def trident_slide_codes(folder: Path, encoder: str = "titan") -> Path:
    place = folder / "20x_512px_0px_overlap" / f"slide_features_{encoder}"
    place.mkdir(parents=True)
    for slide in SLIDES:
        with h5py.File(place / f"{slide}.h5", "w") as handle:
            handle["features"] = features(slide, 1)[0]
            handle["coords"] = places()
    return folder


def clam(folder: Path, *, h5: bool = True, pt: bool = True, patches: bool = True) -> Path:
    for name, wanted in (("h5_files", h5), ("pt_files", pt), ("patches", patches)):
        if wanted:
            (folder / name).mkdir(parents=True)
    for slide in SLIDES:
        values, coords = features(slide), places()
        if h5:
            with h5py.File(folder / "h5_files" / f"{slide}.h5", "w") as handle:
                handle.create_dataset("features", data=values, chunks=(32, D), maxshape=(None, D))
                handle.create_dataset("coords", data=coords.astype(np.int32), chunks=(32, 2), maxshape=(None, 2))
        if pt:
            torch.save(torch.from_numpy(values), folder / "pt_files" / f"{slide}.pt")
        if patches:
            with h5py.File(folder / "patches" / f"{slide}.h5", "w") as handle:
                handle["coords"] = coords.astype(np.int64)
                handle["coords"].attrs.update(
                    patch_size=128, patch_level=1, downsample=np.array([2.0, 2.0]), level_dim=np.array([1300, 300])
                )
    return folder


def stamp(folder: Path, kind: str = "tile", mpp: float = MPP) -> Path:
    place = folder / "ctranspath-1234abcd"
    place.mkdir(parents=True)
    for slide in SLIDES if kind != "patient" else sorted(set(SLIDES.values())):
        with h5py.File(place / f"{slide}.h5", "w") as handle:
            told = {"stamp_version": "2.5.0", "code_hash": "1234abcd", "feat_type": kind}
            if kind == "tile":
                edge = int(np.ceil(256 / mpp))
                handle["feats"] = features(slide, dtype=np.float16)
                handle["coords"] = (places(edge=edge) * mpp).astype(np.float32)
                told |= {"extractor": "ctranspath", "unit": "um", "tile_size_um": 256.0, "tile_size_px": 224}
            else:
                handle["feats"] = features(slide, 1)[0]
                told |= {"encoder": "chief", "precision": "torch.float32", "version": "2.5.0"}
            handle.attrs.update(told)
    return folder


def patho_bench(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for case in sorted(set(SLIDES.values())):
        with h5py.File(folder / f"{case}.h5", "w") as handle:
            handle["features"] = features(case, 1)
    return folder


def eva(folder: Path, *, bags: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for slide in SLIDES:
        values = features(slide, 5 if bags else 1)
        torch.save([torch.from_numpy(row.copy()) for row in values], folder / f"{slide}.pt")
        row = {"origin": f"{slide}.svs", "embeddings": f"{slide}.pt", "target": 1, "split": "train"}
        rows.append({**row, "wsi_id": slide} if bags else row)
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder


def lazyslide(folder: Path, encoder: str = "gigapath") -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for slide in SLIDES:
        group = zarr.create_group(folder / f"{slide}.zarr", zarr_format=3)
        group.attrs["tile_spec"] = {
            "tiles": {
                "width": 256,
                "height": 256,
                "stride_width": 256,
                "mpp": 0.5,
                "base_downsample": 1.0,
                "tissue_name": "t",
            }
        }
        group.attrs["slide_properties"] = {"mpp": MPP, "magnification": 20, "shape": [600, 2600]}
        table = group.create_group(f"tables/{encoder}_tiles")
        table.attrs.update({"region": "tiles", "instance_key": "tile_id"})
        table.create_array("X", data=features(slide))
        order = np.arange(20)[::-1].copy()  # the shapes come in another order than the table
        table.create_array("obs/tile_id", data=np.arange(20) + 7)
        table.create_array("varm/agg_slide", data=features(slide).mean(axis=0)[:, None])
        polygons = []
        for x, y in places()[order].tolist():
            corners = [(x + EDGE, y), (x + EDGE, y + EDGE), (x, y + EDGE), (x, y), (x + EDGE, y)]
            polygons.append(b"\x01" + np.array([3, 1, 5], "<u4").tobytes() + np.array(corners, "<f8").tobytes())
        (folder / f"{slide}.zarr" / "shapes" / "tiles").mkdir(parents=True)
        pq.write_table(
            pa.table({"tile_id": order + 7, "geometry": polygons}),
            folder / f"{slide}.zarr" / "shapes" / "tiles" / "shapes.parquet",
        )
    return folder


def atlas_patch(folder: Path, encoder: str = "uni_v2") -> Path:
    (folder / "patches").mkdir(parents=True)
    for slide in SLIDES:
        with h5py.File(folder / "patches" / f"{slide}.h5", "w") as handle:
            handle[f"features/{encoder}"] = features(slide)
            whole = np.full((20, 1), EDGE)
            handle["coords"] = np.hstack([places(), whole, whole, whole * 0]).astype(np.int32)
            handle.attrs.update(
                patch_size=256, patch_size_level0=256, level0_magnification=20, target_magnification=20, overlap=0,
                level0_width=2600, level0_height=600, mpp=MPP, wsi_path="private",
            )  # fmt: skip
    return folder


def slideflow(folder: Path, tile_um: Any = 128) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for slide in SLIDES:
        torch.save(torch.from_numpy(features(slide)), folder / f"{slide}.pt")
        edge = int(tile_um / MPP) if isinstance(tile_um, int) else EDGE
        np.savez(folder / f"{slide}.index.npz", places(edge=edge) + edge // 2)
    config = {
        "extractor": {"class": "slideflow.model.extractors.retccl.RetCCLFeatures"},
        "tile_px": 256,
        "tile_um": tile_um,
    }
    (folder / "bags_config.json").write_text(json.dumps(config))
    return folder


def slide2vec(folder: Path, encoder: str = "prost40m", form: str = "pt") -> Path:
    """As `write_tile_embeddings` of slide2vec and `_save_tiling_result` of hs2p do."""
    for name in ("tile_embeddings", "tiles"):
        (folder / name).mkdir(parents=True)
    for slide in SLIDES:
        told = {
            "sample_id": slide, "artifact_type": "tile_embeddings", "format": form, "feature_dim": D, "num_tiles": 20,
            "encoder_name": encoder, "encoder_level": "tile", "image_path": "private", "tile_size_lv0": EDGE,
            "requested_tile_size_px": 224, "requested_spacing_um": 0.5, "annotation": None,
        }  # fmt: skip
        (folder / "tile_embeddings" / f"{slide}.meta.json").write_text(json.dumps(told))
        if form == "pt":
            torch.save(torch.from_numpy(features(slide)), folder / "tile_embeddings" / f"{slide}.pt")
        else:
            np.savez_compressed(folder / "tile_embeddings" / f"{slide}.npz", features=features(slide))
        x, y = places().T
        fractions = np.ones(20, np.float32)
        index = np.arange(20, dtype=np.int32)
        np.savez_compressed(
            folder / "tiles" / f"{slide}.coordinates.npz", tile_index=index, x=x, y=y, tissue_fractions=fractions
        )
        geometry = {"slide": {"base_spacing_um": MPP}, "tiling": {"tile_size_lv0": EDGE, "n_tiles": 20}}
        (folder / "tiles" / f"{slide}.coordinates.meta.json").write_text(json.dumps(geometry))
    return folder


def marugoto(folder: Path, repetitions: int = 1) -> Path:
    """As `extract_features_` does: float16, and each tile again as often as it was augmented."""
    folder.mkdir(parents=True, exist_ok=True)
    for slide in SLIDES:
        values = features(slide, dtype=np.float16)
        with h5py.File(folder / f"{slide}.h5", "w") as handle:
            handle["coords"] = np.concatenate([places(edge=224)] * (1 + repetitions))
            handle["feats"] = np.concatenate([values, *[values + np.float16(1)] * repetitions])
            handle["augmented"] = np.repeat([False, True], [20, 20 * repetitions])
            handle.attrs["extractor"] = "marugoto-extract-v0.8.0_xiyue-wang-ctranspath-7c998680"
    return folder


def deepguide(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, cases in DEEPGUIDE_PARTS.items():
        np.save(folder / f"{part}_1.npy", np.concatenate([features(case, 1) for case in cases]))
        table = pd.DataFrame({"CPM_RadPath_2019_ID": cases, "class": ["G"] * len(cases)})
        table.to_csv(folder.parent / f"split_1_{part}.csv", index=False)
    return folder


DEEPGUIDE_PARTS = {"train": ["P3", "P1", "P2"], "val": ["P4"], "test": ["P6", "P5"]}


def plain(folder: Path, suffix: str, *, coords: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for slide in SLIDES:
        values = features(slide)
        if suffix == "h5":
            with h5py.File(folder / f"{slide}.h5", "w") as handle:
                handle["features"] = values
                if coords:
                    handle["coords"] = places()
            continue
        if suffix == "npy":
            np.save(folder / f"{slide}.npy", values)
        else:
            torch.save(torch.from_numpy(values), folder / f"{slide}.pt")
        if coords:
            np.save(folder / f"{slide}_coords.npy", places())
    return folder


def changed(file: Path, change: Callable[[h5py.File], Any]) -> None:
    with h5py.File(file, "r+") as handle:
        change(handle)
