"""Which object somebody handed over: the code of its class, and what it was made with.

Where what it was made with cannot be told (a lambda, an open file, a parameter that it does not keep), it is
unversioned: it is that of one session alone.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.source import Code, code_of, session_source

PLAIN = bool | int | float | str | None


def fingerprint(given: Any) -> Code:
    """Of a class, a function or an object. `source` of an object also covers its parameters that differ from the
    defaults of its class: plain values, lists and mappings of them, arrays, tensors, torch modules, such objects."""
    if inspect.isclass(given) or inspect.isfunction(given):
        return code_of(given)
    code = code_of(type(given))
    try:
        params = {name: _spelled(value) for name, value in kept_parameters(given).items()}
    except (LookupError, ValueError):  # the latter of what has no signature
        return replace(code, source=session_source(given))
    return code if not params or not code.is_versioned else replace(code, source=sha256_of([code.source, params]))


def kept_parameters(given: Any) -> dict[str, Any]:
    """The parameters of an object that differ from the defaults of its class, by name: what `get_params` says, or its
    attributes of the names that its class takes. Raises LookupError with the name of one that it does not keep."""
    takes = inspect.signature(type(given)).parameters
    if hasattr(given, "get_params"):
        kept = given.get_params(deep=False)
    else:
        for parameter in takes.values():
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or not hasattr(
                given, parameter.name
            ):
                raise LookupError(parameter.name)
        kept = {name: getattr(given, name) for name in takes}
    defaults: dict[str, Any] = {}
    for base in reversed(inspect.getmro(type(given))):  # skorch's classes pass what they do not name on to their bases
        if "__init__" in vars(base) and base is not object:
            defaults |= {name: p.default for name, p in inspect.signature(base.__init__).parameters.items()}
    return {
        name: value
        for name, value in sorted(kept.items())
        if not name.startswith("_")  # skorch's own notes
        and not _same(value, defaults.get(name, inspect.Parameter.empty))
    }


def _same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    plain = PLAIN | tuple
    if not (isinstance(value, plain) and isinstance(default, plain)) or type(value) is not type(default):
        return False
    return value == default or (value != value and default != default)


def _spelled(value: Any) -> Any:
    """As JSON. Raises LookupError for what cannot be told."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.generic):
        return _spelled(value.item())
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _spelled(item) for key, item in value.items()}
    if hasattr(value, "state_dict"):  # torch
        return {"class": _source(type(value)), "state": _spelled(value.state_dict())}
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = hashlib.sha256(np.ascontiguousarray(value)).hexdigest()
        return {"array": f"{value.dtype}{value.shape}", "sha256": content}
    return {"class": _source(value)}


def _source(of: Any) -> str:
    code = fingerprint(of)
    if not code.is_versioned or "<" in code.name:  # of lambdas a file may have several
        raise LookupError(code.name)
    return f"{code.name}@{code.source}"
