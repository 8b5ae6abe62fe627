"""Every error guidestore raises on purpose: one sentence that says what, where and what to do.

The command line prints the sentence and exits with `exit_code`; the traceback appears only with ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GuidestoreError(Exception):
    """Base of all errors a user can act on. `exit_code` is the exit code of the command line."""

    exit_code = 1


class InvalidInputError(GuidestoreError):
    """Bad input from outside: a file, a table, an option. Names the file, case and column."""

    exit_code = 2


class InvalidNameError(InvalidInputError):
    """A case id, cohort, modality, tag … that cannot be a name (path parts, control characters, too long)."""


class NotFoundInStoreError(GuidestoreError):
    """Something asked for by name is not in the snapshot. Says what is there."""

    exit_code = 3


class AmbiguousNameError(GuidestoreError):
    """A name matches several code sets, runs … Lists them."""

    exit_code = 3


class CorruptArtifactError(GuidestoreError):
    """Bytes in the store are not those that were committed (flipped, truncated, missing). Names the path."""

    exit_code = 4


class FoldLeakageError(GuidestoreError):
    """Codes of an encoder trained under one split and fold were asked for under another."""

    exit_code = 5


class CommitConflictError(GuidestoreError):
    """A commit cannot be applied on top of what others committed meanwhile."""

    exit_code = 6


class WithdrawnCaseError(CommitConflictError):
    """A case was purged after what is to be committed was read, and the commit holds something of it."""


class StorageError(GuidestoreError):
    """The disk or bucket under the store refused: full, read-only, unreachable. The store itself stays whole."""

    exit_code = 7


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InvalidInputError:
    """The error for a name that nothing has: suggests the nearest and lists them all."""
    names = sorted(known)
    lower = {known.lower(): known for known in names}
    near = [lower[one] for one in difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)]
    hint = f"did you mean {near[0]!r}? " if near else ""
    shown = ", ".join(repr(one) if "," in one else one for one in names)
    return InvalidInputError(f"{kind} {name!r} is unknown: {hint}choose one of {shown}")
