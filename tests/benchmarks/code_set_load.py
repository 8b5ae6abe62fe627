"""A code set of 1,500 x 512 into a torch tensor, verified, from one file and from 24, against np.load.

Target: below 20 ms.
Run: python tests/benchmarks/code_set_load.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
from tests.benchmarks.measuring import median_ms, show

CASES, DIM = 1_500, 512
REPEATS = 25


def make_store(root: Path, codes: CaseCodes, batch: int) -> EmbeddingStore:
    store = EmbeddingStore.create(root)
    for start in range(0, CASES, batch):
        part = CaseCodes(codes.case_ids[start : start + batch], codes.codes_nd[start : start + batch], (), codes.key)
        with store.begin() as transaction:
            transaction.write_codes(part, input_digests=[["x"]] * len(part))
    return store


def main() -> None:
    key = CodeSetKey.of("bench", "mri_t1", EncoderSpec("densenet", "1", "volumes", DIM))
    codes_nd = np.random.default_rng(0).normal(size=(CASES, DIM)).astype(np.float32)
    codes = CaseCodes(tuple(f"C{i:05d}" for i in range(CASES)), codes_nd, (), key)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        np.save(root / "codes.npy", codes_nd)
        one, many = make_store(root / "one", codes, CASES), make_store(root / "many", codes, 64)

        def load(store: EmbeddingStore) -> torch.Tensor:
            return torch.from_numpy(store.snapshot().codes(key).codes_nd)

        def open_and_load(path: Path) -> torch.Tensor:
            return load(EmbeddingStore.open(path))

        for store in (one, many):
            if not torch.equal(load(store), torch.from_numpy(codes_nd)):
                raise SystemExit("the codes read are not those written")
        measured = {
            "np.load, unverified": median_ms(lambda: torch.from_numpy(np.load(root / "codes.npy")), REPEATS),
            "one file": median_ms(lambda: load(one), REPEATS),
            "24 files of 64": median_ms(lambda: load(many), REPEATS),
            "one file, store opened anew": median_ms(lambda: open_and_load(root / "one"), REPEATS),
            "24 files, store opened anew": median_ms(lambda: open_and_load(root / "many"), REPEATS),
        }
    base = measured["np.load, unverified"]
    show(
        f"{CASES} x {DIM} float32 codes to torch; medians of {REPEATS}",
        ["from", "ms", "x np.load"],
        [[name, f"{ms:.1f}", f"{ms / base:.1f}"] for name, ms in measured.items()],
    )


if __name__ == "__main__":
    main()
