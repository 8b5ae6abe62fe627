"""Small bags, codes and stores for the tests of the centre. Values follow from the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import NEVER_TRAINED, Bag, CaseCodes, CodeSetKey, EncoderSpec, FoldScope

MRI = EncoderSpec("densenet", "1", "volumes", 4, weights_sha256="ab" * 32)
SLIDES = EncoderSpec("pooling", "1", "bags", 6)
TILES = EncoderSpec("resnet", "1", "tiles", 8)


def mri_key(cohort: str = "glioma", trained_on: FoldScope = NEVER_TRAINED, dim: int = 4) -> CodeSetKey:
    spec = EncoderSpec("densenet", "1", "volumes", dim, weights_sha256="ab" * 32, trained_on=trained_on)
    return CodeSetKey.of(cohort, "mri_t1", spec)


def slide_key(cohort: str = "glioma", dim: int = 6) -> CodeSetKey:
    return CodeSetKey.of(cohort, "histology", EncoderSpec("pooling", "1", "bags", dim))


def bag_key(dim: int = 8, cohort: str = "glioma") -> CodeSetKey:
    return CodeSetKey.of(cohort, "histology", EncoderSpec("resnet", "1", "tiles", dim))


def make_bag(n: int, d: int = 8, *, seed: int = 0, dtype: type = np.float16) -> Bag:
    rng = np.random.default_rng(seed)
    coords_n2 = rng.integers(0, 80_000, (n, 2), dtype=np.int32)
    return Bag(rng.normal(size=(n, d)).astype(dtype), coords_n2, 0.5, 256, 512, 20.0)


def make_codes(case_ids: Sequence[str], key: CodeSetKey, *, seed: int = 0) -> CaseCodes:
    codes_nd = np.random.default_rng(seed).normal(size=(len(case_ids), key.code_dim)).astype(np.float32)
    return CaseCodes(tuple(case_ids), codes_nd, (), key)


def digests(codes: CaseCodes) -> list[list[str]]:
    return [[f"image of {case_id}"] for case_id in codes.case_ids]


def commit_codes(store: EmbeddingStore, codes: CaseCodes) -> list[str]:
    with store.begin("codes") as transaction:
        return transaction.write_codes(codes, input_digests=digests(codes))


def commit_bag(store: EmbeddingStore, bag: Bag, case_id: str = "C1", image_id: str = "") -> str:
    key = bag_key(bag.features_nd.shape[1])
    with store.begin("bag") as transaction:
        return transaction.write_bag(key, case_id, image_id or case_id, bag, input_digests=[f"slide of {case_id}"])


def commit_cohort(
    store: EmbeddingStore,
    labels: dict[str, str],
    parts: dict[str, str],
    *,
    cohort: str = "glioma",
    classes: Sequence[str] = ("G", "O"),
    split: str = "published",
    fold: int = 0,
) -> None:
    """Labels of target `grade` and one fold."""
    with store.begin("cohort") as transaction:
        transaction.write_rows(
            "targets",
            [{"cohort": cohort, "target": "grade", "class_index": i, "class": name} for i, name in enumerate(classes)],
            cohort=cohort,
        )
        transaction.write_rows(
            "labels",
            [{"cohort": cohort, "case_id": case, "target": "grade", "class": name} for case, name in labels.items()],
            cohort=cohort,
        )
        transaction.write_rows(
            "splits",
            [
                {"cohort": cohort, "split": split, "fold": fold, "case_id": case, "part": part, "origin": "test"}
                for case, part in parts.items()
            ],
            cohort=cohort,
        )


def make_run(run: str, cohort: str = "glioma") -> Run:
    return Run(
        run,
        cohort,
        "grade",
        "published",
        0,
        "G(I)+I",
        trained_on=(FoldScope.of(cohort, "published", 0),),
        seed=7,
        snapshot=1,
    )


def commit_runs(store: EmbeddingStore, runs: Sequence[str], cases: Sequence[str], cohort: str = "glioma") -> list[str]:
    with store.begin("runs") as transaction:
        return transaction.write_runs(
            [make_run(run, cohort) for run in runs],
            [{"run": run, "part": "test", "metric": "balanced_accuracy", "value": 0.75} for run in runs],
            [
                {
                    "run": run,
                    "cohort": cohort,
                    "case_id": case,
                    "part": "test",
                    "label": "G",
                    "predicted": "O",
                    "probabilities": [0.25, 0.75],
                }
                for run in runs
                for case in cases
            ],
            inputs={run: ["codes"] for run in runs},
        )


def full_store(root: Path) -> EmbeddingStore:
    """A store with one of everything: bag (two shards' worth is not needed), codes, rows, runs, weights, names."""
    store = EmbeddingStore.create(root)
    cases = ["case-1", "case-2", "case-3"]
    commit_cohort(store, dict.fromkeys(cases, "G"), {"case-1": "train", "case-2": "val", "case-3": "test"})
    for i, case in enumerate(cases):
        commit_bag(store, make_bag(1030, seed=i), case)
    commit_codes(store, make_codes(cases, mri_key(), seed=1))
    commit_codes(store, make_codes(cases, slide_key(), seed=2))
    with store.begin("weights") as transaction:
        transaction.write_weights(
            "guidance",
            "ridge",
            config={"alpha": 1.0},
            tensors={"w": np.arange(24, dtype=np.float32).reshape(4, 6)},
            recipe={"seed": 7},
            cohort="glioma",
            split="published",
            fold=0,
        )
    commit_runs(store, ["f" * 64], cases)
    store.move_alias("champion", artifact="f" * 64)
    store.tag("paper")
    store.log.checkpoint()
    return store


def files_of(root: Path, folder: str = "") -> dict[str, bytes]:
    """Path -> bytes of every file below."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted((root / folder).rglob("*")) if p.is_file()}


def flips(data: bytes, bits: Sequence[int] | range) -> Iterator[tuple[int, bytes]]:
    """`data` with one bit flipped, for each of the bits."""
    for bit in bits:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(damaged)


def same_bag(left: Bag, right: Bag) -> bool:
    """Equal values, dtypes and facts, bit by bit."""
    return (
        left.features_nd.dtype == right.features_nd.dtype
        and left.features_nd.tobytes() == right.features_nd.tobytes()
        and left.coords_n2.tobytes() == right.coords_n2.tobytes()
        and (left.mpp, left.tile_size_px, left.tile_size_level0_px, left.magnification)
        == (right.mpp, right.tile_size_px, right.tile_size_level0_px, right.magnification)
    )
