"""What the library does with every call from outside: arguments are checked by their types before anything is read, and
errors of parts that the command line has too name arguments, not options."""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, cast

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.library.tables import Table

_OPTION = re.compile(r"`guidestore[^`]*`|(?<![\w`-])--([a-z][a-z-]*)")
_BY_OPTION = re.compile(r" with --([a-z][a-z-]*) '[^']*'")
"""How to do what a sentence says, which goes where no argument does it."""
_RENAMED = {"store": "place", "order": "classes"}
_SHOWN = 60
"""Characters of a value in an error."""


def public[Made](of: Made) -> Made:
    """The function, or the class with its public methods, called as described above.

    Of types that others have it takes what means the same: a whole number of numpy for an int, any iterable for a
    Sequence, which it gives on as a tuple, and one text or number for a Sequence of them.
    """
    if not isinstance(of, type):
        return cast("Made", _called(cast("Callable[..., Any]", of)))
    for name, value in list(vars(of).items()):
        if inspect.isfunction(value) and (not name.startswith("_") or name in ("__init__", "__getitem__")):
            setattr(of, name, _called(value))
        elif isinstance(value, property) and value.fget is not None:
            setattr(of, name, property(_called(value.fget), doc=value.__doc__))
    return of


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)
    names = vars(inspect.getmodule(inspect.unwrap(function)))
    given = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, str) and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{function.__qualname__}: {error}{_meant(kwargs, signature)}") from None
        for name in bound.arguments.keys() & given.keys():
            bound.arguments[name] = _taken(bound.arguments[name], given[name], name, names)
        try:
            answer = function(*bound.args, **bound.kwargs)
        except GuidestoreError as error:
            error.args = (_in_python(str(error), signature.parameters), *error.args[1:])
            raise
        if isinstance(answer, Table):
            answer.notes = tuple(_in_python(note, signature.parameters) for note in answer.notes)
        return answer

    return called


def _meant(given: Iterable[str], signature: inspect.Signature) -> str:
    """The argument that an unknown one is most like."""
    unknown = next((name for name in given if name not in signature.parameters), "")
    near = difflib.get_close_matches(unknown, signature.parameters, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _in_python(sentence: str, parameters: Iterable[str]) -> str:
    """Options by the names of the arguments; commands stay."""

    def argument(option: str) -> str:
        name = option.replace("-", "_")
        alike = (name, f"{name}s", name.rpartition("_")[2], _RENAMED.get(name, ""))
        return next((one for one in alike if one in parameters), "")

    def named(found: re.Match[str]) -> str:
        return found[0] if found[1] is None else f"`{argument(found[1]) or found[1].replace('-', '_')}`"

    sentence = _BY_OPTION.sub(lambda found: found[0] if argument(found[1]) else "", sentence)
    return _OPTION.sub(named, sentence)


def _taken(value: Any, annotation: str, name: str, names: Mapping[str, Any]) -> Any:
    """The value as the annotation has it. Raises InvalidInputError."""
    wanted, alternatives = [], re.split(r" \| (?![^\[]*\])", annotation)
    for alternative in alternatives:
        taken, words = _alternative(value, alternative, name, names)
        if taken is not _NOT:
            if isinstance(taken, str | os.PathLike) and not {"Path", "Place"}.isdisjoint(alternatives):
                taken = _expanded(taken)
            is_url = isinstance(taken, str | os.PathLike) and ":/" in str(taken)
            return _of_url(taken, alternatives, name) if is_url else taken
        wanted.append(words)
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN and "\n" not in shown else f"a {type(value).__name__}"
    raise InvalidInputError(f"{name} is {shown}; it must be {' or '.join(dict.fromkeys(wanted))}")


def _expanded(place: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """With the folder that ~ stands for, which a shell puts in its place and Python does not."""
    return os.path.expanduser(place) if os.fspath(place).startswith("~") else place  # noqa: PTH111


def _of_url(place: str | os.PathLike[str], alternatives: Sequence[str], name: str) -> Any:
    """The path of a file: URL; another URL of a Place alone. Raises InvalidInputError."""
    from guidestore.embeddings.remote import on_this_machine, url_of

    url = url_of(str(place)) or ""
    is_local = "Path" in alternatives or ("Place" in alternatives and url.startswith("file:"))
    return on_this_machine(str(place), name) if url and is_local else place


_NOT = object()
"""Is not of the kind."""


def _alternative(value: Any, of: str, name: str, names: Mapping[str, Any]) -> tuple[Any, str]:
    """The value, or _NOT, and what it must be in words."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if of == "None":
        return (None if value is None else _NOT), "None"
    if of == "str":
        return (value if _is_text(value) else _NOT), "text"
    if of == "bool":
        return (bool(value) if type(value).__name__ == "bool" else _NOT), "True or False"
    if of == "int":
        return (int(value) if whole else _NOT), "a whole number"
    if of == "float":
        number = isinstance(value, Real) and not isinstance(value, bool)
        return (value if number else _NOT), "a number"
    if of == "Place":
        return (value if _is_text(value) or isinstance(value, os.PathLike) else _NOT), "a path or text"
    if of == "Path":
        return (value if isinstance(value, os.PathLike) else _NOT), "a path"
    if of == "Part":
        of = "Literal['train', 'val', 'test']"
    kind, _, inside = of.removesuffix("]").partition("[")
    if kind == "Literal":
        choices = ast.literal_eval(f"({inside},)")
        return (value if isinstance(value, str) and value in choices else _NOT), " or ".join(choices)
    if kind == "Sequence":
        return _several(value, inside, name, names)
    if kind == "Progress":
        return (value if callable(value) else _NOT), "a function of (what, done, total)"
    if kind == "Callable":
        return (value if callable(value) else _NOT), "a function"
    if kind == "Mapping":
        return (_mapped(value, inside, name, names) if isinstance(value, Mapping) else _NOT), "a mapping"
    if kind == "tuple":
        each = inside.split(", ")
        words = f"({', '.join(_alternative(None, one, name, names)[1] for one in each)})"
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(each):
            return _NOT, words
        return tuple(_taken(item, one, name, names) for item, one in zip(list[Any](value), each, strict=True)), words
    found = names.get(kind)
    if isinstance(found, type) and found is not Any:
        return (value if isinstance(value, found) else _NOT), f"a {kind}"
    return value, ""


def _mapped(value: Mapping[Any, Any], inside: str, name: str, names: Mapping[str, Any]) -> dict[Any, Any]:
    of = inside.partition(", ")[2]
    return {key: _taken(item, of, f"{name}[{key!r}]", names) for key, item in value.items()}


def _several(value: Any, of: str, name: str, names: Mapping[str, Any]) -> tuple[Any, str]:
    """One of them is one of several."""
    words = " or ".join(_alternative(None, one, name, names)[1] for one in of.split(" | "))
    if isinstance(value, str | os.PathLike | Real):
        value = [value]
    if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
        return _NOT, f"a list, each of it {words}"
    if hasattr(value, "to_pylist"):  # a column of Arrow, whose values are not Python's
        value = value.to_pylist()  # pyright: ignore[reportAttributeAccessIssue]
    return tuple(_taken(item, of, f"{name}[{place}]", names) for place, item in enumerate(value)), words


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value
