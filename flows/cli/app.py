"""Commands and groups of them, whose --help fits a terminal: what it does, examples, arguments, options.

A line of a command's docstring that begins with ``$ guidestore`` is an example, shown as it is; a test parses each.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.cli.output import bold, terminal_width

EXAMPLE = "$ guidestore "
FILE_OR_URL = "FILE|URL"
"""Metavar of what is read by URL too (embeddings.remote)."""
_PATHS = ("path", "file", "directory")
_NAMES_WIDTH = 24
"""Of the column of names; what is longer has a line of its own."""
_WIDEST = 100
_TIED = "\xa0"
"""A blank that no line ends at."""


class Command(TyperCommand):
    """A command. An option or argument that is a path is one of this machine, but for those of metavar FILE_OR_URL.

    An option that takes one value and is given several is refused, where click takes the last in silence.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given_args = list(args)
        rest = super().parse_args(ctx, args)
        self._refuse_repeated(ctx, given_args)
        for param in self.params:
            given = ctx.params.get(param.name)
            if param.type.name in _PATHS and given and ":/" in str(given):
                several = isinstance(given, list | tuple)
                taken = [_place(param, place) for place in (given if several else [given])]
                ctx.params[param.name] = taken if several else taken[0]
        return rest

    def _refuse_repeated(self, ctx: Any, args: list[str]) -> None:
        if ctx.resilient_parsing:
            return
        _, _, order = self.make_parser(ctx).parse_args(args=args)
        for param, times in Counter(order).items():
            takes_one = isinstance(param, TyperOption) and not (param.multiple or param.is_flag)
            if takes_one and times > 1:
                raise InvalidInputError(
                    f"{param.opts[0]} is given {times} times and takes one value; run the command once for each"
                )

    def format_help(self, ctx: Any, formatter: Any) -> None:
        print("\n".join(_help(self, ctx)))


def _place(param: Any, place: str) -> str:
    """The path of a file: URL; another URL where one is read. Raises InvalidInputError."""
    from guidestore.embeddings.remote import on_this_machine

    if param.metavar == FILE_OR_URL and not place.lower().startswith("file:"):
        return place
    return str(on_this_machine(place, param.opts[0] if param.opts[0].startswith("-") else param.name.upper()))


class Group(TyperGroup):
    """A group of commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        print("\n".join(_help(self, ctx)))


class App(typer.Typer):
    """A typer.Typer of these."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**({"cls": Group, "no_args_is_help": True, "pretty_exceptions_enable": False} | given))

    def command(self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **given: Any) -> Any:
        return super().command(name, cls=cls or Command, **given)


def examples_of(text: str) -> list[str]:
    """The examples in a docstring, each in one line, without the dollar."""
    lines, found = text.split("\n"), []
    for line in map(str.strip, lines):
        if line.startswith(EXAMPLE):
            found.append(line.removeprefix("$ "))
        elif found and found[-1].endswith("\\"):
            found[-1] = f"{found[-1][:-1].rstrip()} {line}"
    return found


def prose_of(text: str) -> str:
    """A docstring without its examples."""
    kept, continued = [], False
    for line in text.split("\n"):
        is_example = line.strip().startswith(EXAMPLE) or continued
        continued = is_example and line.rstrip().endswith("\\")
        kept += [] if is_example else [line]
    return "\n".join(kept).strip()


def _help(command: Any, ctx: Any) -> Iterator[str]:
    width = min(terminal_width() or _WIDEST, _WIDEST)
    params = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    arguments = [param for param in params if isinstance(param, TyperArgument)]
    options = [param for param in params if not isinstance(param, TyperArgument)]
    taken = [_name(param) if param.required else f"[{_name(param)}]" for param in arguments]
    taken = ["COMMAND", "…"] if isinstance(command, TyperGroup) else taken
    usage = " ".join(["Usage:", ctx.command_path.replace("python -m ", ""), "[OPTIONS]", *taken])
    yield from textwrap.wrap(usage, width, subsequent_indent="    ")
    text = command.help or ""
    for paragraph in filter(None, prose_of(text).split("\n\n")):
        yield ""
        yield from textwrap.wrap(" ".join(paragraph.split()), width)
    if examples := examples_of(text):
        yield from ("", bold("Examples"))
        for example in examples:
            yield from _example(example, width)
    for title, shown in (("Arguments", arguments), ("Options", options)):
        if shown:
            yield from ("", bold(title))
            yield from _listed(((_name(param), _said(param, ctx)) for param in shown), width)
    if isinstance(command, TyperGroup):
        yield from ("", bold("Commands"))
        commands = ((name, command.get_command(ctx, name)) for name in command.list_commands(ctx))
        shown = [(name, one) for name, one in commands if one is not None and not one.hidden]
        yield from _listed(((name, _first_sentence(one.help or "")) for name, one in shown), width)


def _example(text: str, width: int) -> Iterator[str]:
    """In lines that a shell takes as one."""
    lines = textwrap.wrap(f"$ {_tied_options(text)}", width - 4, break_on_hyphens=False, break_long_words=False)
    for number, line in enumerate(lines):
        indent = "  " if number == 0 else "      "
        yield f"{indent}{line}{' \\' if number < len(lines) - 1 else ''}".replace(_TIED, " ")


def _tied_options(text: str) -> str:
    """Quoted text stays in one line."""
    parts = text.split('"')
    return '"'.join(part.replace(" ", _TIED) if number % 2 else part for number, part in enumerate(parts))


def _listed(pairs: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    for name, said in pairs:
        lines = textwrap.wrap(said, width - _NAMES_WIDTH - 4, break_on_hyphens=False)
        lines = [line.replace(_TIED, " ") for line in lines] or [""]
        if len(name) > _NAMES_WIDTH:
            yield f"  {bold(name)}"
        else:
            yield f"  {bold(name)}{' ' * (_NAMES_WIDTH - len(name))}  {lines.pop(0)}".rstrip()
        yield from (" " * (_NAMES_WIDTH + 4) + line for line in lines)


def _name(param: Any) -> str:
    """``--fold INT``; an argument by its name; a flag without a type."""
    if isinstance(param, TyperArgument):
        return (param.metavar or param.name or "").upper()
    names = "/".join([*param.opts, *param.secondary_opts])
    if param.is_flag or param.count:
        return names
    return f"{names} {FILE_OR_URL if param.metavar == FILE_OR_URL else _KINDS.get(param.type.name.split()[0], 'TEXT')}"


_KINDS = {
    "int": "N",
    "integer": "N",
    "float": "X",
    **dict.fromkeys(_PATHS, "PATH"),
    "choice": "NAME",
}


def _said(param: Any, ctx: Any) -> str:
    """What it is, which values it takes, whence it comes and what it is otherwise; each of these whole in a line."""
    facts = []
    choices = getattr(param.type, "choices", None)
    if choices is None and param.metavar not in (None, FILE_OR_URL) and not isinstance(param, TyperArgument):
        choices = param.metavar.strip("[]<>").split("|")
    if choices:
        facts.append(f"({'|'.join(map(str, choices))})")
    bounds = [getattr(param.type, end, None) for end in ("min", "max")]
    if bounds[0] is not None and bounds[1] is not None and bounds[1] < _ENDLESS:
        facts.append(f"[{bounds[0]:g} to {bounds[1]:g}]")
    elif bounds[0] is not None:
        facts.append(f"[at least {bounds[0]:g}]")
    if param.envvar:
        facts.append(f"[env: {param.envvar}]")
    default = param.get_default(ctx, call=False)
    is_told = param.show_default and not getattr(param, "is_flag", False) and default not in _NO_DEFAULTS
    if param.required:
        facts.append("[required]")
    elif is_told:
        values = default if isinstance(default, list | tuple) else [default]
        facts.append(f"[default: {', '.join(map(str, values))}]")
    text = " ".join((param.help or "").split()).replace("`", "")
    return " ".join([text, *map(_tied, facts)]).strip()


def _tied(fact: str) -> str:
    """In one line; a list of defaults may go on in the next."""
    return ", ".join(part.replace(" ", _TIED) for part in fact.split(", "))


_NO_DEFAULTS = (None, "", -1, [], ())
_ENDLESS = 2**31 - 1
"""A bound that is there for computers alone."""


def _first_sentence(text: str) -> str:
    first = " ".join(prose_of(text).split("\n\n")[0].split()).replace("`", "")
    return first.split(". ")[0].rstrip(".") if first else ""
