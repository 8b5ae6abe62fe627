"""A class or function of others by its name, with the code that it is."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.embeddings.plugins import Registry, load_object, names_object, remember_object
from guidestore.embeddings.source import UNVERSIONED, Code, code_of, digest_before_import, object_name
from guidestore.heads.choice import Choice
from guidestore.heads.own.trust import built, check_trusted, make, objects_in, own_params


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """A class of others, or a function that makes models."""

    kind: str
    """In words, for errors."""
    name: str
    """By which it is asked for and stored: ``module:Class``, or the name of an entry point."""
    of: Any
    code: Code
    declared: bool
    """By an entry point."""

    def build(self, params: Mapping[str, Any], *more: Any) -> Any:
        """An unfitted one. more: what it takes before its parameters. Raises InvalidInputError."""
        self._check_params(params)
        trusted = None if self.declared else self.of
        values = {name: built(value, f"{self.name}: {name}", of=trusted) for name, value in params.items()}
        return make(lambda **given: self.of(*more, **given), values, f"{self.kind} {self.name!r}")

    def _check_params(self, params: Mapping[str, Any]) -> None:
        takes = inspect.signature(self.of).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in takes):
            return
        known = [p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        for name in params:
            if name not in known:
                raise unknown_name(f"{self.name}: parameter", name, known)


def own_of(registry: Registry[Any], name: str, *, here: bool = False) -> Own:
    """What `name`, which is one's own, names. here: see `load_object`. Raises InvalidInputError."""
    declared = not names_object(name)
    of = registry.load(name) if declared else load_object(registry.kind, name, here=here)
    if not declared:
        check_trusted(of, registry.kind, name)
    return Own(registry.kind, name, of, code_of(of), declared)


def stored_own(registry: Registry[Any], config: Mapping[str, Any]) -> tuple[Own, bool]:
    """What a stored config names, and whether its code is that which was trained.

    Raises InvalidInputError where the code is not here, saying which package has it; or where it is other code than
    was trained, unless an installed package has it.
    """
    kind, name, code = registry.kind, str(config.get("name")), config.get("code")
    if not isinstance(code, Mapping) or not all(
        isinstance(code.get(key), str) for key in ("name", "source", "package")
    ):
        raise InvalidInputError(f"the config of {kind} {name!r} lacks the code that trained it; train it again")
    module = name.partition(":")[0]
    if names_object(name):
        there = "" if module in sys.modules else digest_before_import(module)
        if there and there != code["source"]:  # code that nobody asked for is not run
            raise _other_code(kind, name, there, code)
        load_object(kind, name, package=code["package"])  # for its sentence
    elif name not in registry:
        where = f"{code['package'] or 'a package'} (module {code['name'].partition(':')[0]})"
        raise InvalidInputError(f"{kind} {name!r} is code of {where}, which is not installed; install it")
    own = own_of(registry, name)
    same = own.code.source == code["source"]
    if not same and code["source"].startswith(UNVERSIONED):
        raise InvalidInputError(
            f"{kind} {name!r} was typed into a session, or changed since it was loaded, so its code is gone; put it "
            "into a module and train again"
        )
    if not same and not own.code.is_installed:
        raise _other_code(kind, name, own.code.source, code)
    return own, same


_RECORDED = ("name", "source", "package")


def _other_code(kind: str, name: str, source: str, code: Mapping[str, str]) -> InvalidInputError:
    of = f" of {code['package']}" if code["package"] else ""
    return InvalidInputError(
        f"{kind} {name!r} has other code (source {source[:8]}) than what was trained ({code['source'][:8]}{of}); "
        "restore that code, or train again"
    )


def choice_of(registry: Registry[Any], given: Any, params: Mapping[str, Any] | None = None) -> Choice:
    """A name, preset, ``module:Class``, class, object or choice as a choice, with the digest of code of others.

    An object is one by its class and parameters: it is not fitted itself. params: of a name or class. Code that cannot
    be digested makes another choice each time. Raises InvalidInputError.
    """
    if isinstance(given, Choice):
        return given
    if not isinstance(given, str):
        given, params = _named(registry, given, params)
    if not registry.is_own(given):
        return Choice.of(given, params)
    sources = [own_of(registry, given, here=True).code.source, *parts_of(params or {}).values()]
    if any(source.startswith(UNVERSIONED) for source in sources):
        return Choice.of(given, params, code=f"{UNVERSIONED}-{uuid4().hex}")
    return Choice.of(given, params, code=sources[0] if len(sources) == 1 else sha256_of(sources))


def parts_of(params: Mapping[str, Any]) -> dict[str, str]:
    """Class among described parameters -> the digest of its source. Raises InvalidInputError."""
    return {name: code_of(load_object("object", name)).source for name in sorted(objects_in(params))}


def check_parts(params: Mapping[str, Any], recorded: Any) -> None:
    """Raises InvalidInputError where a class among stored parameters is other code than was trained; what is not
    installed is not even imported then."""
    sources = recorded if isinstance(recorded, Mapping) else {}
    for name in sorted(objects_in(params)):
        module = name.partition(":")[0]
        code = {"source": str(sources.get(name, "")), "package": ""}
        there = "" if module in sys.modules else digest_before_import(module)
        if there and there != code["source"]:
            raise _other_code("object", name, there, code)
        loaded = code_of(load_object("object", name))
        if not loaded.is_installed and loaded.source != code["source"]:
            raise _other_code("object", name, loaded.source, code)


def _named(registry: Registry[Any], given: Any, params: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a class, a function or an object."""
    is_object = not (inspect.isclass(given) or inspect.isfunction(given))
    of = type(given) if is_object else given
    name = object_name(of)
    if is_object and of.__module__ == "builtins":
        raise InvalidInputError(f"{registry.kind} is a {of.__name__}; name one, or pass a class or an object with fit")
    if is_object and params:
        raise InvalidInputError(f"{registry.kind} {name!r} is an object, which has its parameters; pass no others")
    name = next((ours for ours, place in registry.built_in.items() if place == name), name)
    remember_object(name, of)
    if not is_object:
        return name, dict(params or {})
    config = getattr(given, "config", None)
    if isinstance(config, Mapping) and "name" in config and not hasattr(given, "get_params"):
        return name, {key: value for key, value in config.items() if key != "name"}
    return name, own_params(given, name)
