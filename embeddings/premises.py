"""What a commit was made from, where others' commits since may contradict it."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, so no checker sees them.

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.errors import CommitConflictError, WithdrawnCaseError


class Log(Protocol):
    """The log as far as it is known, and what it says beyond a commit."""

    @property
    def head(self) -> int: ...

    def added_since(self, version: int) -> pa.Table:
        """Rows (schema `LOG_SCHEMA`)."""
        ...

    def withdrawn_since(self, version: int) -> Set[tuple[str, str]]:
        """(cohort, case id) of what was purged."""
        ...


class Premise(Protocol):
    """Asked before each try of a commit."""

    def check(self, log: Log, /) -> None:
        """Raises CommitConflictError where it no longer holds."""
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """A case that was withdrawn since must not come back by the commit."""

    at: int
    """The head of the log when it was read."""
    holds: Callable[[str, str], bool]
    """Whether the commit may hold something of (cohort, case id)."""

    def check(self, log: Log, /) -> None:
        if self.at == log.head:
            return
        held = sorted({cohort for cohort, case_id in log.withdrawn_since(self.at) if self.holds(cohort, case_id)})
        if held:
            raise WithdrawnCaseError(
                f"a case of cohort {', '.join(held)} was purged meanwhile, and this was made with it: run the command "
                "again"
            )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A purge: a file committed since that holds the case would stay."""

    at: int
    """The head of the log when it was prepared."""
    cohort: str
    misses: Callable[[pa.Table], bool]
    """Whether it misses something in these rows of the log (schema `LOG_SCHEMA`), added since."""

    def check(self, log: Log, /) -> None:
        if self.at != log.head and self.misses(log.added_since(self.at)):
            raise CommitConflictError(
                f"another process changed cohort {self.cohort} during the purge; run the command again"
            )


@dataclass(frozen=True, slots=True)
class AliasSeen:
    """Where an alias goes was decided by what it named then."""

    at: int
    name: str

    def check(self, log: Log, /) -> None:
        if self.at == log.head:
            return
        later = log.added_since(self.at).filter(pc.field("kind") == "alias")
        if self.name in later["artifact"].to_pylist():
            raise CommitConflictError(f"alias {self.name} was moved by another process meanwhile; decide again")
