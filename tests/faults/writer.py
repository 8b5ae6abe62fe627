"""A writer to be killed: commits bags, codes, rows and weights in a loop, and prints each version once it stands.

Run as ``python -m tests.faults.writer ROOT NAME KIND COUNT``; KIND all or rows, COUNT 0: until killed.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from tests.embeddings.making import bag_key, make_bag, make_codes, mri_key


def main(root: str, name: str, kind: str, count: int) -> None:
    store = EmbeddingStore.open(root)
    for i in itertools.count() if not count else range(count):
        case = f"{name}-{i}"
        with store.begin(f"{case} by {name}") as transaction:
            transaction.write_rows("cases", [{"cohort": "glioma", "case_id": case}], cohort="glioma")
            if kind == "all":
                transaction.write_bag(bag_key(), case, case, make_bag(1500, seed=i), input_digests=["x"])
                # Every writer also tries the same case, and the first wins.
                codes = make_codes([case, f"shared-{i}"], mri_key(), seed=i)
                transaction.write_codes(codes, input_digests=[["x"], ["x"]])
                transaction.write_weights("decoder", "mlp", config={}, tensors={"w": np.ones(i + 1)}, recipe={case: i})
        assert transaction.snapshot is not None
        print(transaction.snapshot.version, case, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
