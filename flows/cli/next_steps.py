"""What to do after the demo or an example: commands that work as they are printed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from guidestore.flows.cli.output import bold

Step = tuple[str, str]
"""A command, and what it is for."""


def activation() -> list[Step]:
    """The command after which a shell finds guidestore; none where it does already."""
    if shutil.which("guidestore") or sys.prefix == sys.base_prefix:
        return []
    script = Path(sys.prefix) / "bin" / "activate"
    beside = os.path.relpath(script)
    return [(f"source {quote(beside if not beside.startswith('..') else str(script))}", "so that your shell knows it")]


def store_named(store: Path) -> Step:
    """Names the store once for all commands."""
    return f"export GUIDESTORE_STORE={quote(str(store.resolve()))}", "the store of all that follows"


def own_data() -> list[Step]:
    """From codes or images of one's own to a verdict."""
    return [
        ("export GUIDESTORE_STORE=my-store", "a store of your own; these names are examples"),
        ("guidestore import mri.csv --cohort mine --modality mri_t1 --encoder radiomics", "codes that you have"),
        ("guidestore cohort add manifest mine --images images.csv --labels labels.csv", "or images, and labels"),
        ("guidestore encode mine --modality histology --encoder texture", "images to codes"),
        ("guidestore cohort split mine --folds 5", "folds"),
        ("guidestore guide mine --inferior mri_t1/radiomics --superior histology/texture", "does it help?"),
    ]


def show_steps(title: str, steps: Sequence[Step]) -> None:
    """Prints each as a comment and its command, which a shell takes as they are."""
    print(f"\n{bold(title)}")
    for command, what in steps:
        print(f"  # {what}\n  {command}")
