"""Examples as files: example digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import Format

app = App(help="Example cohorts as files, which need no network.")


@app.callback()
def _root() -> None:
    """A group, though there is one example: another comes beside it."""


@app.command()
def digits(
    folder: Annotated[Path, typer.Option("--dir", help="Where the files go; made if it is not there.")] = Path(
        "digits"
    ),
    format_: Format = "table",
) -> None:
    """Write two views of scikit-learn's 1,797 digits (4 x 4 with noise, and 8 x 8), labels, folds and a sweep.

    It prints the commands that lead to both ends: guidance that adds nothing with all labels, and label transfer that
    helps with 50.

    $ guidestore example digits --dir digits
    """
    from guidestore.flows.cli.next_steps import activation, own_data, show_steps
    from guidestore.flows.cli.output import print_text, show_rows
    from guidestore.flows.work.progress import progress_bars

    with progress_bars():
        from guidestore.flows.library.example_files import COHORT, write_digits

        written = write_digits(folder)
    commands = [command for command, _ in activation()] + list(written.commands)
    commands += [
        f"guidestore report {COHORT} --out {COHORT}.html",
        f"guidestore explore {COHORT}",
        "guidestore serve",
    ]
    if format_ != "table":
        rows = [{"file": str(file)} for file in written.files] + [{"command": command} for command in commands]
        show_rows(rows, ["file", "command"], format_)
        return
    print_text(f"written: {', '.join(str(file) for file in written.files)}\n")
    print("\n".join(f"$ {command}" for command in commands))
    show_steps("Your own data", own_data())
