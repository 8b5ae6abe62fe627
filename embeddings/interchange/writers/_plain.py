"""What npz and Parquet have in common: tables of slides, labels and splits as guidestore takes them."""

from __future__ import annotations

from pathlib import Path

from guidestore.embeddings.interchange.outgoing import Outgoing, OutgoingCodes, write_csv

FACTS = ("mpp", "tile_size_px", "tile_size_level0_px", "magnification")
"""Of a slide, beside its arrays."""


def name_of(codes: OutgoingCodes) -> str:
    """The stem of the file of a set of case codes."""
    return f"{codes.key.modality}_{codes.key.encoder}"


def write_tables(out: Outgoing, folder: Path, suffix: str) -> None:
    """``slides.csv`` where there are bags, ``labels.csv`` and ``splits.csv`` as `guidestore cohort add` takes them."""
    if out.bags is not None:
        rows = []
        for slide in out.bags.slides:
            bag = slide.read(slice(0, 0))
            facts = ("" if (value := getattr(bag, name)) is None else value for name in FACTS)
            rows.append((f"bags/{slide.name}.{suffix}", slide.case_id, slide.image_id, slide.tiles, *facts))
        write_csv(folder / "slides.csv", ("file", "case_id", "image_id", "tiles", *FACTS), rows)
    if out.labels is not None:
        target, columns = out.labels.target, out.labels.columns
        titles = [target] if list(columns) == ["label"] else [f"{target}_{column}" for column in columns]
        cases = sorted({case for values in columns.values() for case in values})
        labelled = ((case, *(values.get(case, "") for values in columns.values())) for case in cases)
        write_csv(folder / "labels.csv", ("case_id", *titles), labelled)
    if out.folds:
        parts = ((case, out.split, fold, part) for fold, of in out.folds.items() for case, part in sorted(of.items()))
        write_csv(folder / "splits.csv", ("case_id", "split", "fold", "part"), parts)
