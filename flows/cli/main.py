"""The command `guidestore`. Every command imports what it needs when it runs, so that --help and sql start fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from guidestore.embeddings.errors import GuidestoreError
from guidestore.flows.cli import (
    agents,
    codes,
    cohorts,
    doctor,
    examples,
    experiments,
    exploring,
    exporting,
    heads,
    neighbours,
    report,
    serving,
    store,
    sweeps,
)
from guidestore.flows.cli.app import App
from guidestore.flows.cli.interrupt import answered
from guidestore.flows.cli.streams import ReaderGoneError, discard_output
from guidestore.flows.library.versions import version
from guidestore.flows.work.printable import printable

app = App(
    name="guidestore",
    help="Encode medical images once, keep every latent code, train and compare guidance heads honestly.\n\n"
    "Start with `guidestore demo`. Then bring your own: `guidestore cohort add`, `guidestore encode` (or "
    "`guidestore import` for codes you have), `guidestore guide`, `guidestore sql`, `guidestore predict`.\n\n"
    "$ guidestore demo\n$ guidestore guide --help",
)
_debug = False
_INTERRUPTED = 130


def _print_version(asked: bool) -> None:
    if asked:
        print(f"guidestore {version()}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    global _debug
    _debug = debug


def _unforeseen(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:  # the disk's or the system's word
        what = f"{printable(str(error.filename))}: {error.strerror}"
        return f"{what}; check the path, its permissions and the space on its disk (--debug shows where)"
    return f"{type(error).__name__}: {error} (a bug of guidestore; --debug shows where)"


def main() -> None:
    """Runs the command line; errors become one sentence and an exit code."""
    with answered() as say_interrupted:
        try:
            code = app(standalone_mode=False)
            sys.stdout.flush()
            if code == _INTERRUPTED:  # what typer makes of Ctrl-C
                say_interrupted()
        except GuidestoreError as error:
            if _debug:
                raise
            print(printable(f"error: {error}"), file=sys.stderr)
            code = error.exit_code
        except (KeyboardInterrupt, typer.Abort):
            say_interrupted()
            code = _INTERRUPTED
        except ReaderGoneError:
            discard_output()
            code = 0
        except Exception as error:
            is_usage = hasattr(error, "format_message")  # a wrong command line, as typer found it
            if not is_usage and _debug:
                raise
            if is_usage and not str(error):  # a group without a command: its help
                error.show()  # pyright: ignore[reportAttributeAccessIssue]
            elif is_usage:
                from guidestore.flows.cli.wrong_lines import sentence_of

                print(printable(f"error: {sentence_of(error)}"), file=sys.stderr)
            else:
                sentence = f"error: {_unforeseen(error)}"
                print(printable(sentence), file=sys.stderr)
            code = getattr(error, "exit_code", 70)
    sys.exit(code if isinstance(code, int) else 0)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Where images and store go.")] = Path("guidestore-demo"),
) -> None:
    """Run the main job on a generated cohort: encode once, keep every code, guide, compare, predict. Some 2 minutes.

    A second run reads no image: every code is in the store.

    $ guidestore demo
    $ guidestore demo --dir elsewhere
    """
    from guidestore.flows.work.progress import progress_bars

    with progress_bars() as progress:
        from guidestore.flows.cli.demo import run_demo, show_demo

        result = run_demo(folder, lambda text: print(text, file=sys.stderr, flush=True), progress)
    show_demo(folder, result)


app.add_typer(cohorts.app, name="cohort")
app.add_typer(codes.app)
app.add_typer(neighbours.app)
app.add_typer(heads.app)
app.add_typer(exporting.app)
app.add_typer(report.app)
app.add_typer(exploring.app)
app.add_typer(experiments.app, name="experiment")
app.add_typer(sweeps.app, name="sweep")
app.add_typer(store.app)
app.add_typer(serving.app)
app.add_typer(agents.app)
app.add_typer(doctor.app)
app.add_typer(examples.app, name="example")

if __name__ == "__main__":
    main()
