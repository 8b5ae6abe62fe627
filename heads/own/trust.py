"""What of others' code may be built from a name and parameters: a store that others wrote names them too.

Code that is not installed, and what an installed distribution declares by an entry point, is the user's own choice. Of
what else is installed, only classes that are models, with parameters that name no place on disk: else the name of any
function, with its arguments, would be a command that a store gives.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.fingerprint import kept_parameters
from guidestore.embeddings.plugins import load_object
from guidestore.embeddings.source import is_installed, object_name

MOST_CHARACTERS = 200
"""Of a word among the parameters of an installed class."""


def check_trusted(of: Any, kind: str, name: str) -> None:
    """Raises InvalidInputError where `of`, which no entry point names, is not to be built."""
    if not callable(of) or not hasattr(of, "__qualname__"):
        raise InvalidInputError(f"{kind} {name!r} is no class, but {type(of).__name__}; name the class")
    if is_installed(of.__module__) and not is_model(of):
        raise InvalidInputError(
            f"{kind} {name!r} is an installed {'class' if inspect.isclass(of) else 'function'} that is no model: it "
            "has neither fit and predict, nor is it a torch module; name a class that is"
        )


def is_model(of: Any) -> bool:
    """Whether it is a class that is fitted and predicts, a torch module, or a part of an estimator."""
    if not inspect.isclass(of):
        return False
    predicts = any(hasattr(of, method) for method in ("predict", "predict_proba", "transform"))
    return is_torch_module(of) or (hasattr(of, "fit") and (predicts or hasattr(of, "get_params")))


def is_torch_module(of: Any) -> bool:
    """Without importing torch."""
    return inspect.isclass(of) and any(object_name(c) == "torch.nn.modules.module:Module" for c in _bases(of))


def _bases(of: type) -> list[type]:
    return [c for c in inspect.getmro(of) if c.__name__ == "Module"]


# Parameters as JSON --------------------------------------------------------------------------------------------------


def described(value: Any, where: str) -> Any:
    """`value` as JSON-able values: estimators and classes among them as {"object": "module:Class", "params": {…}}.

    Raises InvalidInputError for what cannot be written down.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(described(item, where) for item in value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) and "object" not in value:
        return {key: described(item, where) for key, item in value.items()}
    if isinstance(value, np.generic):
        return described(value.item(), where)
    if inspect.isclass(value) or inspect.isfunction(value):
        return {"object": object_name(value)}
    if hasattr(value, "get_params"):
        return {"object": object_name(type(value)), "params": own_params(value, where)}
    raise InvalidInputError(
        f"{where} is a {type(value).__name__}, which no run can record; write a class of your own that makes it"
    )


def own_params(model: Any, where: str) -> dict[str, Any]:
    """The parameters of an object that differ from the defaults of its class, as JSON-able values.

    They are what `get_params` says, or its attributes of the names that its class takes. Raises InvalidInputError.
    """
    try:
        kept = kept_parameters(model)
    except LookupError as lacking:
        raise InvalidInputError(
            f"{where} does not keep its parameter {lacking.args[0]} as an attribute of that name, so it cannot be "
            "built again; keep it, or pass the class"
        ) from None
    except ValueError:  # it has no signature
        raise InvalidInputError(f"{where} is no model: name one, or pass a class or an object with fit") from None
    return {name: described(value, f"parameter {name} of {where}") for name, value in kept.items()}


def objects_in(value: Any) -> set[str]:
    """Names of the classes among described parameters."""
    if isinstance(value, Mapping):
        own = {str(value["object"])} if "object" in value else set[str]()
        return own.union(*map(objects_in, value.values()))
    return set[str]().union(*map(objects_in, value)) if isinstance(value, list | tuple) else set()


def built(value: Any, where: str, *, of: Any = None) -> Any:
    """The inverse of `described`. of: the class that it is for. Raises InvalidInputError where that is not trusted."""
    if isinstance(value, Mapping) and "object" in value:
        name = str(value["object"])
        found = load_object("object", name)
        check_trusted(found, "object", name)
        if "params" not in value:
            return found
        return make(found, {str(k): built(v, f"{where}: {k}", of=found) for k, v in value["params"].items()}, name)
    if isinstance(value, Mapping):
        return {key: built(item, where, of=of) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [built(item, where, of=of) for item in value]
        return items if isinstance(value, list) or _are_named_parts(value) else tuple(items)
    if isinstance(value, str) and of is not None and is_installed(of.__module__):
        _check_word(value, where)
    return value


def _are_named_parts(value: tuple[Any, ...]) -> bool:
    """(name, estimator), … which scikit-learn's ensembles take as a list alone."""
    return bool(value) and all(
        isinstance(part, list | tuple) and len(part) == 2 and isinstance(part[0], str) and objects_in(part[1])
        for part in value
    )


def _check_word(value: str, where: str) -> None:
    if len(value) > MOST_CHARACTERS or os.sep in value or "\\" in value or where.endswith("memory"):
        raise InvalidInputError(
            f"{where} is {value[:40]!r}, which may name a place on disk; a head reads and writes none, so leave it out"
        )


def make(of: Any, params: Mapping[str, Any], name: str) -> Any:
    """`of(**params)`. Raises InvalidInputError with the sentence of what it raised."""
    try:
        return of(**params)
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError(f"{name} cannot be built ({type(error).__name__}: {error})") from error
