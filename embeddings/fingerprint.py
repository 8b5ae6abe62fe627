"""Which object somebody handed over: the code of its class, what it was made with, and the values that it holds.

Where what it was made with cannot be told (a lambda, an open file, a parameter that it does not keep), it is
unversioned: it is that of one session alone.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.source import UNVERSIONED, Code, code_of, session_source

PLAIN = bool | int | float | str | None
_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE of a class: it was made while Python ran."""


def fingerprint(given: Any) -> Code:
    """Of a class, a function or an object. `source` of an object also covers its parameters that differ from the
    defaults of its class: plain values, lists and mappings of them, arrays, tensors, torch modules, such objects; and
    of what it holds besides arrays, tensors, torch modules and, under public names, plain values."""
    if inspect.isclass(given) or inspect.isfunction(given):
        return code_of(given)
    code = code_of(type(given))
    try:
        held: list[Any] = [{name: _spelled(value) for name, value in kept_parameters(given).items()}, _besides(given)]
        if not any(held):
            if not _is_of_python(type(given)):
                raise LookupError(code.name)
            return code
        digest = sha256_of([code.source, *(part for part in held if part)])
    except (LookupError, ValueError, TypeError, RuntimeError):  # of what has no signature, or no bytes, or no end
        return replace(code, source=session_source(given))
    return replace(code, source=digest if code.is_versioned else f"{UNVERSIONED}-{digest}")


def _besides(given: Any) -> dict[str, Any]:
    """What it holds that is no parameter, spelled, by name."""
    takes = inspect.signature(type(given)).parameters
    held = {"state_dict()": _network(given)} if hasattr(given, "state_dict") else {}
    for name, value in getattr(given, "__dict__", {}).items():
        plain = isinstance(value, PLAIN | list | tuple | dict) and not name.startswith("_")
        if name in takes or not (plain or _has_values(value)) or (held and name == "training"):
            continue
        try:
            held[name] = _spelled(value)
        except LookupError:  # a list of functions, say: no parameter, so no matter of identity
            continue
    return held


def _has_values(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "state_dict") or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _is_of_python(kind: type) -> bool:
    """Whether a class statement made it. What others have within (numpy's ufuncs, patterns of re) cannot be seen."""
    made = (base for base in inspect.getmro(kind) if base.__flags__ & _HEAP_TYPE)
    return any({"__dict__", "__slots__"} & vars(base).keys() for base in made)


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
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.generic):
        return _spelled(value.item())
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _spelled(item) for key, item in value.items()}
    if hasattr(value, "state_dict"):
        return _network(value)
    dtype = ""
    if _is_tensor(value):
        dtype, value = str(value.dtype), value.detach().cpu()
        value = (value.float() if dtype == "torch.bfloat16" else value).numpy()  # numpy has no bfloat16
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = hashlib.sha256(np.ascontiguousarray(value)).hexdigest()
        return {"array": f"{dtype or value.dtype}{value.shape}", "sha256": content}
    return {"class": _source(value)}


def _network(value: Any) -> dict[str, Any]:
    """Of torch: its form (strides, activations, whose names its state lacks), the code of its parts and its state."""
    parts = value.modules() if hasattr(value, "modules") else [value]
    classes = sorted({_source(type(part)) for part in parts})
    return {"form": repr(value), "classes": classes, "state": _spelled(value.state_dict())}


def _source(of: Any) -> str:
    code = fingerprint(of)
    if not code.is_versioned or "<" in code.name:  # of lambdas a file may have several
        raise LookupError(code.name)
    return f"{code.name}@{code.source}"
