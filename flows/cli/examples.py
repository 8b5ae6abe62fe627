"""Examples as files: example digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Example cohorts as files, which need no network.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """A group, though there is one example: another comes beside it."""


@app.command()
def digits(
    folder: Annotated[Path, typer.Option("--dir", help="Where the files go; made if it is not there.")] = Path(
        "digits"
    ),
) -> None:
    """Write two views of scikit-learn's 1,797 digits (4 x 4 with noise, and 8 x 8), labels, folds and a sweep.

    It prints the commands that lead to both ends: guidance that adds nothing with all labels, and label transfer that
    helps with 50.
    """
    from guidestore.flows.library.example_files import write_digits

    written = write_digits(folder)
    print(f"written: {', '.join(str(file) for file in written.files)}\n")
    print("\n".join(f"$ {command}" for command in written.commands))
