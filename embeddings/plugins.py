"""Implementations by name: built in, brought by any installed distribution through an entry point, or one's own.

One's own are named ``module:Class``. Names are listed without importing what they name, so a form or ``--help`` costs
nothing; an implementation is imported when it is asked for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, cast
from weakref import WeakValueDictionary

from guidestore.embeddings.errors import InvalidInputError, unknown_name

_OBJECT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.([^\W\d]\w*|<locals>))*")
_given: WeakValueDictionary[str, Any] = WeakValueDictionary()
"""What was handed over as an object and that no import finds: classes within functions."""


def names_object(name: object) -> bool:
    """Whether that is ``module:Class``."""
    return isinstance(name, str) and bool(_OBJECT.fullmatch(name))


def remember_object(name: str, given: Any) -> None:
    """Lets this process find a class that lies within a function."""
    if "<locals>" in name:
        _given[name] = given


def load_object(kind: str, name: str, *, package: str = "", here: bool = False) -> Any:
    """The object ``module:Class``, imported.

    package: the distribution that it came from, for the error. here: whether files of the working directory may be
    imported: where the user names them, never where a store does. Raises InvalidInputError, and without an import for
    what is not ``module:Class``: who forbids that forbids all that runs.
    """
    if not names_object(name):
        raise InvalidInputError(f"{kind} {name!r} is not named module:Class, as in package.module:Class; name it so")
    module, _, attributes = name.partition(":")
    if module.partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        raise InvalidInputError(f"{kind} {name!r} names a module of Python itself, which has none; name your own")
    if "<locals>" in attributes:
        if name in _given:
            return _given[name]
        raise InvalidInputError(
            f"{kind} {name!r} was defined within a function, so it is gone with that session; put it into a module"
        )
    if here and _is_here(module):
        sys.path.append(str(Path.cwd()))
    try:
        found = import_module(module)
    except Exception as error:
        raise InvalidInputError(f"{kind} {name!r} {_why_not(module, package, error)}") from error
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise InvalidInputError(f"{kind} {name!r} is not there: {module} has no {attributes}{_typed(module)}")
        found = getattr(found, attribute)
    return found


def _is_here(module: str) -> bool:
    """Whether a file of the working directory is that module, and none of Python's path."""
    top, here = module.partition(".")[0], Path.cwd()
    there = (here / f"{top}.py").is_file() or (here / top).is_dir()
    return there and top not in sys.modules and find_spec(top) is None


def _typed(module: str) -> str:
    return "; it was typed into another session or script, so put it into a module" if module == "__main__" else ""


def _why_not(module: str, package: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        if package:
            return f"is code of {package} (module {module}), which is not installed; install it"
        return (
            f"is code of the module {module}, which is not on Python's path; install the package that has it, or name "
            "the folder that it lies in with PYTHONPATH"
        )
    return f"cannot be imported ({type(error).__name__}: {error}); mend {module}"


@dataclass(frozen=True, slots=True)
class Registry[T]:
    """What can be asked for by name, of one kind. T: the type of the objects (classes, as a rule)."""

    kind: str
    """In words, for errors: ``guidance model``."""
    group: str
    """Of entry points (``guidestore.guidance``); '' for what nobody else can bring."""
    built_in: Mapping[str, str]
    """Name -> ``module:object``."""

    def names(self) -> tuple[str, ...]:
        """All of them, sorted."""
        return tuple(sorted({*self.built_in, *_brought(self.group)}))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.built_in or name in _brought(self.group))

    def is_own(self, name: object) -> bool:
        """Whether it is code of others: ``module:Class``, or what an installed distribution brings."""
        if not self.group or not isinstance(name, str):
            return False
        return names_object(name) or (name in _brought(self.group) and name not in self.built_in)

    def target(self, name: str) -> str:
        """``module:object`` of that name, not imported.

        Raises InvalidInputError for a name that nothing has (suggesting the nearest) or that several bring.
        """
        if name not in self:
            raise unknown_name(self.kind, name, self.names())
        brought = _brought(self.group).get(name, ())
        if len(brought) + (name in self.built_in) > 1:
            owners = ["guidestore"] * (name in self.built_in) + [_owner(entry) for entry in brought]
            raise InvalidInputError(
                f"{self.kind} {name!r} is brought by {' and by '.join(owners)}; rename or uninstall all but one"
            )
        return brought[0].value if brought else self.built_in[name]

    def load(self, name: str) -> T:
        """The object of that name. Raises InvalidInputError as `target`, and for a plug-in that cannot be imported."""
        module, _, attribute = self.target(name).partition(":")
        try:
            return cast(T, getattr(import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            if name in self.built_in:
                raise
            owner = _owner(_brought(self.group)[name][0])
            raise InvalidInputError(
                f"{self.kind} {name!r} of {owner} cannot be imported ({error}); mend or uninstall it"
            ) from error


def one_per_file(package: str) -> dict[str, str]:
    """Name -> ``module:Class`` of a folder in which every file is an implementation of its own name.

    ``kernel_ridge.py`` holds the class KernelRidge. Folders within, and files that start with _, are none.
    """
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    names = [file.name for file in iter_modules(folders or []) if not file.ispkg and not file.name.startswith("_")]
    return {name: f"{package}.{name}:{''.join(part.capitalize() for part in name.split('_'))}" for name in names}


@cache
def _brought(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Name -> the entry points of a group, read once per process."""
    brought: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=group) if group else ():
        if entry not in brought.get(entry.name, ()):
            brought[entry.name] = (*brought.get(entry.name, ()), entry)
    return brought


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value
