"""Cases and their class in a CSV file: case_id, class."""

import csv
from pathlib import Path

from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError
from guidestore.warehouse.cohorts.cohort import CohortTables
from guidestore.warehouse.cohorts.layout import Layout
from guidestore.warehouse.cohorts.reading import Reading


class TwoColumns(Layout):
    """Cases and their class in a CSV file of two columns, case_id and class."""

    file: Path = Field(description="The CSV file.")
    target: str = Field(default="class", description="What the classes are of.")

    def read(self, reading: Reading) -> CohortTables:
        try:
            with self.file.open(encoding="utf-8", newline="") as lines:
                rows = list(csv.DictReader(lines))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"{self.file} cannot be read ({type(error).__name__}); name a CSV file") from error
        if not rows or any(not row.get("case_id") or not row.get("class") for row in rows):
            raise InvalidInputError(f"{self.file} needs the columns case_id and class, filled in each row; add them")
        classes = sorted({row["class"] for row in rows})
        return CohortTables(
            reading.cohort,
            cohorts=[{"layout": "two-columns", "source": str(self.file), "pseudonymized": False, "note": ""}],
            targets=[{"target": self.target, "class": name} for name in classes],
            cases=[{"case_id": row["case_id"]} for row in rows],
            labels=[{"case_id": row["case_id"], "target": self.target, "class": row["class"]} for row in rows],
        )
