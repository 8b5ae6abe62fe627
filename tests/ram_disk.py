"""A folder in memory for what tests write: thousands of small stores cost a disk a third of their time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

PLACE = Path("/dev/shm")
NEEDED_BYTES = 4 * 2**30
"""At most half of it was in use at once."""


def ram_folder() -> Path | None:
    """A new folder there; None where there is no such place, or too little room or memory."""
    if not PLACE.is_dir() or not os.access(PLACE, os.W_OK) or shutil.disk_usage(PLACE).free < NEEDED_BYTES:
        return None
    available_kb = re.search(r"^MemAvailable: +(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    if not available_kb or int(available_kb[1]) * 1024 < 2 * NEEDED_BYTES:
        return None
    return Path(tempfile.mkdtemp(prefix="guidestore-tests-", dir=PLACE))
