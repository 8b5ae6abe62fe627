"""A cohort as our users have them, exported to every layout, each with what its tool must find in it.

``python -m tests.flows.encoding.peers FOLDER`` writes ``FOLDER/<layout>`` with ``expect.json``, for the scripts that
read a folder with the tool's own reader.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import UNKNOWN_TRAINING, Bag, CaseCodes, CodeSetKey, EncoderSpec
from guidestore.flows.encoding.committing import register_encoder
from guidestore.flows.encoding.export_codes import CodesExported, export_codes

COHORT = "glioma"
CLASSES = ("A", "G", "O")
WIDTH = 48
MPP = 0.499
PARTS = ("train", "val", "test", "train", "val", "test", "train", "train")
TILES = EncoderSpec(
    "tiny16", "1", "tiles", WIDTH, "", {"tile_px": 256, "magnification": 20, "overlap_px": 0}, UNKNOWN_TRAINING
)
SLIDES = {  # case -> slides -> tiles; the fourth is blank
    "TCGA-AA-0001": {"TCGA-AA-0001-01Z-00-DX1": 40},
    "TCGA-AA-0002": {"TCGA-AA-0002-01Z-00-DX1": 24},
    "TCGA-AA-0003": {"TCGA-AA-0003-01Z-00-DX1": 12, "TCGA-AA-0003-01Z-00-DX2": 31},
    "TCGA-AA-0004": {"TCGA-AA-0004-01Z-00-DX1": 0},
    "TCGA-AA-0005": {"TCGA-AA-0005-01Z-00-DX1": 16},
    "TCGA-AA-0006": {"TCGA-AA-0006-01Z-00-DX1": 20},
    "TCGA-AA-0007": {"TCGA-AA-0007-01Z-00-DX1": 9},
    "TCGA-AA-0008": {"TCGA-AA-0008-01Z-00-DX1": 10},
}
CASES = tuple(SLIDES)


def bag_of(slide: str, *, tiles: int, dtype: type = np.float16, mpp: float | None = MPP) -> Bag:
    rng = np.random.default_rng(int.from_bytes(slide.encode()[-12:], "big") % 2**32)
    number = np.arange(tiles)
    coords_n2 = (np.stack([number % 5, number // 5], axis=1) * 256 + [512, 1024]).astype(np.int32)
    return Bag(rng.normal(size=(tiles, WIDTH)).astype(dtype), coords_n2, mpp, 256, 256, 20.0)


def labels() -> dict[str, str]:
    """Of all cases."""
    return {case: CLASSES[number % 3] for number, case in enumerate(CASES)}


def make_store(
    place: Path,
    *,
    slides: Mapping[str, Mapping[str, int]] = SLIDES,
    spec: EncoderSpec = TILES,
    dtype: type = np.float16,
    mpp: float | None = MPP,
    pseudonymized: bool = False,
) -> EmbeddingStore:
    """Bags ``histology/tiny16``, codes ``histology/path`` (512), ``mri_t1/rad`` (1024) and ``mri_t1/guided`` (512)."""
    store = EmbeddingStore.create(place)
    rng = np.random.default_rng(0)
    with store.begin("cohort") as transaction:
        row = {"cohort": COHORT, "layout": "manifest", "source": "", "pseudonymized": pseudonymized, "note": ""}
        transaction.write_rows("cohorts", [row], cohort=COHORT)
        transaction.write_rows("cases", [{"cohort": COHORT, "case_id": case} for case in slides], cohort=COHORT)
        targets = [
            {"cohort": COHORT, "target": "class", "class_index": i, "class": name} for i, name in enumerate(CLASSES)
        ]
        transaction.write_rows("targets", targets, cohort=COHORT)
        known = [
            {"cohort": COHORT, "case_id": case, "target": "class", "class": CLASSES[number % 3]}
            for number, case in enumerate(slides)
        ]
        transaction.write_rows("labels", known, cohort=COHORT)
        splits = [
            {"cohort": COHORT, "split": "cv2", "fold": fold, "case_id": case, "part": part, "origin": "test"}
            for fold in (0, 1)
            for case, part in zip(slides, PARTS if fold == 0 else PARTS[::-1], strict=False)
        ]
        transaction.write_rows("splits", splits, cohort=COHORT)
        register_encoder(transaction, spec, {})
        key = CodeSetKey.of(COHORT, "histology", spec)
        for case, own in slides.items():
            for slide, tiles in own.items():
                bag = bag_of(slide, tiles=tiles, dtype=dtype, mpp=mpp)
                transaction.write_bag(key, case, slide, bag, input_digests=[f"slide {slide}"])
        for modality, name, width in (("histology", "path", 512), ("mri_t1", "rad", 1024), ("mri_t1", "guided", 512)):
            codes_spec = EncoderSpec(name, "1", "codes", width, trained_on=UNKNOWN_TRAINING)
            register_encoder(transaction, codes_spec, {})
            codes_nd = rng.normal(size=(len(slides), width)).astype(np.float32)
            codes = CaseCodes(tuple(slides), codes_nd, key=CodeSetKey.of(COHORT, modality, codes_spec))
            transaction.write_codes(codes, input_digests=[[f"{name} {case}"] for case in slides])
    return store


LAYOUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("trident", "clam", "stamp", "patho-bench", "eva", "lazyslide"), ("histology/tiny16",)),
    **dict.fromkeys(("npz", "parquet"), ("histology/tiny16", "mri_t1/rad")),
    "deepguide": ("histology/path", "mri_t1/rad", "mri_t1/guided"),
}


def export_all(store: EmbeddingStore, folder: Path) -> dict[str, CodesExported]:
    return {
        layout: export_codes(
            store.snapshot(), folder / layout, cohort=COHORT, code_sets=LAYOUTS[layout], layout=layout, split="cv2"
        )
        for layout in LAYOUTS
    }


def expected(slides: Mapping[str, Mapping[str, int]] = SLIDES) -> dict[str, object]:
    """What `expect.json` says beside an export, from what was put in."""
    facts = {}
    for case, own in slides.items():
        for slide, tiles in own.items():
            bag = bag_of(slide, tiles=tiles)
            assert bag.coords_n2 is not None
            first = bag.coords_n2[0].tolist() if tiles else [0, 0]
            facts[slide] = {
                "case": case,
                "n": tiles,
                "d": WIDTH,
                "sum": float(bag.features_nd.astype(np.float64).sum()),
                "first_level0": first,
                "first_um": [value * MPP for value in first],
                "px": 256,
                "px0": 256,
                "tile_um": 256 * MPP,
                "mpp": MPP,
            }
    of_case = {case: CLASSES[number % 3] for number, case in enumerate(slides)}
    return {"slides": facts, "labels": of_case, "parts": dict(zip(slides, PARTS, strict=False))}


def expected_of_deepguide(store: EmbeddingStore) -> dict[str, object]:
    snapshot = store.snapshot()
    codes = snapshot.codes(snapshot.code_set(f"{COHORT}/histology/path"))
    rows = {part: [i for i, own in enumerate(PARTS) if own == part] for part in set(PARTS)}
    sums = {part: float(codes.codes_nd[own].astype(np.float64).sum()) for part, own in rows.items()}
    return {"parts": {part: {"n": len(own), "s_sum": sums[part]} for part, own in rows.items()}}


def main(folder: Path) -> None:
    store = make_store(folder / "store")
    for layout, exported in export_all(store, folder).items():
        facts = expected_of_deepguide(store) if layout == "deepguide" else expected()
        (folder / layout / "expect.json").write_text(json.dumps(facts))
        print(layout, *exported.notes, sep="\n  ")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
