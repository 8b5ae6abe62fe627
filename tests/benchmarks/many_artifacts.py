"""What opening a store of many artifacts takes, of made-up entries: nothing but the log is there.

Bar: 10,000,000 artifacts open (manifest, head, how many rows) in under 1 s.
Run: python -m tests.benchmarks.many_artifacts [--artifacts 1000000] [--folder /dev/shm] (10 million: 5 GB of memory)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from unittest import mock

from guidestore.embeddings.commit_log import CommitLog
from guidestore.embeddings.log_table import entries_of
from guidestore.embeddings.store import EmbeddingStore
from tests.benchmarks.measuring import cost, show

A_COMMIT = 1_000_000
OPEN = """
import sys
from guidestore.embeddings.store import EmbeddingStore
log = EmbeddingStore.open(sys.argv[1]).log
print(log.head, sum(segment.rows for segment in log._checkpoint.segments))
"""


def make(root: Path, artifacts: int) -> None:
    """Commits of up to A_COMMIT entries, and a checkpoint of all."""
    log = EmbeddingStore.create(root).log
    common = {
        "kind": "codes",
        "cohort": "bench",
        "modality": "mri",
        "encoder": "net",
        "path": "objects/codes/1.parquet",
    }
    with mock.patch.object(CommitLog, "live", return_value={}):  # of new ids nothing is there
        for start in range(0, artifacts, A_COMMIT):
            numbers = range(start, min(start + A_COMMIT, artifacts))
            columns = {"artifact": [f"{i:064x}" for i in numbers], "case_id": [f"case-{i}" for i in numbers]}
            log.append(add_many=entries_of(columns, common), actor={"host": "example"})
    log.checkpoint()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the stores are made")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for artifacts in (given.artifacts // 1000, given.artifacts):
            root = Path(folder) / str(artifacts)
            make(root, artifacts)
            seconds, peak_mb = cost([sys.executable, "-c", OPEN, str(root)])
            rows.append([f"{artifacts:,}", f"{seconds:.2f}", str(peak_mb)])
    show("Opening a store, Python's start included", ["artifacts", "CPU s", "peak, MB"], rows)


if __name__ == "__main__":
    main()
