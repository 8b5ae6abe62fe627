"""A process that changes a store once told to: ``python -m tests.faults.changer ROOT GO purge CASE``, or ``… compact``,
or ``… gc``. It says ``ready``, begins when there is a file GO, and prints what its error says, if any."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.gc import collect
from guidestore.embeddings.purge import purge
from guidestore.embeddings.store import EmbeddingStore


def main(root: str, go: str, action: str, case: str = "") -> None:
    store = EmbeddingStore.open(root)
    print("ready", flush=True)
    while not Path(go).exists():
        time.sleep(0.001)
    try:
        if action == "purge":
            purge(store, "glioma", case)
        elif action == "gc":
            while True:
                collect(EmbeddingStore.open(root), dry_run=False, older_than_h=-1)
        else:
            for key in store.snapshot().code_sets:
                compact(store, key)
    except GuidestoreError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
