"""The contract of guidestore."""

from pathlib import Path

from guidestore_two_columns import TwoColumns  # pyright: ignore[reportMissingImports]

from guidestore.testing import LayoutContract


class TestTwoColumns(LayoutContract):
    def make(self, folder: Path) -> TwoColumns:
        folder.mkdir(exist_ok=True)
        (folder / "cases.csv").write_text("case_id,class\nA,low\nB,high\nC,low\n")
        return TwoColumns(file=folder / "cases.csv", target="grade")
