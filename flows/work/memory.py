"""How much memory a process that answers questions may take."""

from __future__ import annotations

import os
from contextlib import suppress

_SHARE = 0.75


def bound_memory() -> None:
    """Lets this process have three quarters of the machine's memory at most, so that one query fails, and not all.

    DuckDB's own limit, a half, leaves out the values that a single call makes: a list of a billion numbers, a text of a
    billion letters. A limit that is narrower stays; systems without such limits are left as they are.
    """
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = int(_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if soft == resource.RLIM_INFINITY or soft > most:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
