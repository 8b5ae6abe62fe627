"""The command line as a process of its own."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn

from guidestore.embeddings.errors import StorageError
from guidestore.flows.cli.main import main
from guidestore.flows.cli.streams import ReaderGoneError, prepare_streams


def run() -> NoReturn:
    """`main`, and an end without Python's own: taking apart what torch's exporter made took 2.5 s of 12.

    What libraries asked to be called at the end is called, and output flushed. Where threads are still at work, Python
    waits for them and ends as ever.
    """
    prepare_streams()
    os.environ["MPLBACKEND"] = "agg"  # figures are files: a notebook's `!guidestore` would ask for the notebook's own
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.exit(code)
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, StorageError, ReaderGoneError):  # of what was asked to be called at the end; or there is no stderr
        code = code or 1
    os._exit(code)
