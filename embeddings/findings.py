"""What fsck finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as committed.

    problem: damaged, missing, extra (no commit names it, and no writer can be about to), orphan (a writer is about to
    commit it, or left it when it died within a day: no harm, gc sweeps it), or unfinished purge.
    """

    problem: str
    path: str
    case_id: str
    detail: str

    @property
    def harmless(self) -> bool:
        return self.problem == "orphan"

    def __str__(self) -> str:
        case = f" (case {self.case_id})" if self.case_id else ""
        return f"{self.problem}: {self.path}{case}: {self.detail}"
