"""Implementations by name: built in, or brought by any installed distribution through an entry point.

Names are listed without importing what they name, so a form or ``--help`` costs nothing; an implementation is imported
when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import cast

from guidestore.embeddings.errors import InvalidInputError, unknown_name


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
        return name in self.built_in or name in _brought(self.group)

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
