"""How long the command and the library take to answer, against Python's own start.

Targets: `--help` and `sql "SELECT 1"` under 1 s; `import guidestore` under .15 s above `python -c pass`, and
`gs.open(…).sql("SELECT 1")` under .6 s.

Run: python tests/benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
REPEATS = 9


def median_s(*arguments: str) -> float:
    """Median wall time of a process over REPEATS runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.cli.output import show_rows
    from guidestore.warehouse.indexer import build_index

    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        build_index(EmbeddingStore.create(store))
        bare = median_s("-c", "pass")
        libraries = median_s("-c", "import typer, duckdb, rich.table")
        rows = [
            {"command": "python -c pass", "seconds": bare, "ratio": 1.0},
            {
                "command": "imports of typer, duckdb, rich",
                "seconds": libraries,
                "ratio": libraries / bare,
            },
        ]
        for name, arguments in (
            ("guidestore --help", ("--help",)),
            ('guidestore sql "SELECT 1"', ("sql", "SELECT 1", "--store", store)),
        ):
            seconds = median_s("-m", "guidestore", *arguments)
            rows.append({"command": name, "seconds": seconds, "ratio": seconds / bare})
        for name, code in (
            ("import guidestore as gs", "import guidestore as gs"),
            ('gs.open(…).sql("SELECT 1")', f"import guidestore as gs; gs.open({store!r}).sql('SELECT 1')"),
        ):
            seconds = median_s("-c", code)
            rows.append({"command": name, "seconds": seconds, "ratio": seconds / bare})
    show_rows(rows, ("command", "seconds", "ratio"), "table", f"median of {REPEATS} runs")


if __name__ == "__main__":
    main()
