"""Checks of what comes in: codes, labels, seeds, settings, tensors. All raise InvalidInputError with one sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, unknown_name


def check_codes(values: np.ndarray, what: str, *, code_dim: int | None = None, min_rows: int = 1) -> np.ndarray:
    """`values` as C-contiguous float32 (n, d): n >= min_rows, d >= 1 (d == code_dim where given), finite."""
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] < 1:
        raise InvalidInputError(
            f"{what} are {array.dtype} of shape {array.shape}; they must be numbers of shape (n, d)"
        )
    if len(array) < min_rows:
        raise InvalidInputError(f"{what} have {len(array)} rows; at least {min_rows} are needed")
    if code_dim is not None and array.shape[1] != code_dim:
        raise InvalidInputError(
            f"{what} have {array.shape[1]} dimensions, but {code_dim} were fitted; use codes of the same encoder"
        )
    with np.errstate(over="ignore"):
        codes_nd = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(codes_nd).all(axis=1)
    if not finite.all():
        raise InvalidInputError(
            f"{what} are not finite float32 in {int((~finite).sum())} of {len(array)} rows (first: "
            f"{int(np.argmin(finite))}); leave out the rows that lack the modality and scale codes that overflow"
        )
    return codes_nd


def check_pairs(z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of a guidance model's fit: codes of at least 2 cases, row by row of the same case."""
    z_inferior_nd = check_codes(z_inferior_nd, f"{what}: z_I", min_rows=2)
    z_superior_nd = check_codes(z_superior_nd, f"{what}: z_S", min_rows=2)
    if len(z_inferior_nd) != len(z_superior_nd):
        raise InvalidInputError(
            f"{what}: {len(z_inferior_nd)} rows of z_I but {len(z_superior_nd)} of z_S; pass the rows that are pairs"
        )
    return z_inferior_nd, z_superior_nd


def check_labels(values: np.ndarray, n_rows: int, n_classes: int, what: str) -> np.ndarray:
    """`values` as (n_rows,) int64 with 0 <= label < n_classes; n_classes >= 2."""
    labels = np.asarray(values)
    if n_classes < 2:
        raise InvalidInputError(f"{what}: a decoder needs at least 2 classes, not {n_classes}")
    if labels.shape != (n_rows,) or labels.dtype.kind not in "iu":
        raise InvalidInputError(
            f"{what} are {labels.dtype} of shape {labels.shape}; they must be integers of shape ({n_rows},)"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= n_classes):
        raise InvalidInputError(
            f"{what} run from {labels.min()} to {labels.max()}; they must lie in 0 to {n_classes - 1}, so leave "
            "unlabelled rows out"
        )
    return labels.astype(np.int64)


def check_fit(
    x_nd: np.ndarray, labels: np.ndarray, x_val_nd: np.ndarray, labels_val: np.ndarray, n_classes: int, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four inputs of a decoder's fit, checked together; every class must occur in train."""
    x_nd = check_codes(x_nd, f"{what}: train codes")
    x_val_nd = check_codes(x_val_nd, f"{what}: val codes", code_dim=x_nd.shape[1])
    labels = check_labels(labels, len(x_nd), n_classes, f"{what}: train labels")
    labels_val = check_labels(labels_val, len(x_val_nd), n_classes, f"{what}: val labels")
    missing = sorted(set(range(n_classes)) - set(labels.tolist()))
    if missing:
        raise InvalidInputError(
            f"{what}: no train row has class {', '.join(map(str, missing))}; drop the class, draw another split, "
            "or, of a grade, take the decoder proportional_odds or mlp"
        )
    return x_nd, labels, x_val_nd, labels_val


def check_seed(seed: int) -> int:
    """A seed numpy and torch both take: an integer, 0 <= seed < 2**63."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= int(seed) < 2**63:
        raise InvalidInputError(f"seed {seed!r} is no integer from 0 to 2**63 - 1; choose another")
    return int(seed)


def make_settings[T](settings: type[T], params: Mapping[str, Any], what: str) -> T:
    """A settings dataclass from parameters by name; lists (of JSON) become tuples. Unknown names raise."""
    known = [field.name for field in dataclasses.fields(settings)]  # pyright: ignore[reportArgumentType]
    for name in params:
        if name not in known:
            raise unknown_name(f"{what}: parameter", name, known)
    return settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in params.items()})


def settings_to_config(name: str, settings: Any) -> dict[str, Any]:
    """{"name": name} and every setting, tuples as lists: what JSON gives back unchanged."""
    values = dataclasses.asdict(settings)
    return {"name": name} | {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def settings_from_config[T](settings: type[T], config: Mapping[str, Any], name: str) -> T:
    """The inverse of `settings_to_config`; the config must be of `name` and must have every setting."""
    if config.get("name") != name:
        raise InvalidInputError(f"a config of {config.get('name')!r} cannot make a {name}; load it by its own name")
    params = {key: value for key, value in config.items() if key != "name"}
    missing = [f.name for f in dataclasses.fields(settings) if f.name not in params]  # pyright: ignore[reportArgumentType]
    if missing:
        raise InvalidInputError(f"the config of {name} lacks {', '.join(missing)}; it does not say how it was trained")
    return make_settings(settings, params, name)


def check_number(
    value: Any, what: str, low: float, high: float = np.inf, *, integer: bool = False, open_low: bool = False
) -> None:
    """A setting that must be a finite number in [low, high] (or (low, high] if open_low)."""
    kinds = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    good = isinstance(value, kinds) and not isinstance(value, bool) and -np.inf < value < np.inf
    if not good or value < low or value > high or (open_low and value == low):
        kind = "an integer" if integer else "a number"
        span = f"above {low:g}" if open_low else f"of at least {low:g}"
        raise InvalidInputError(f"{what} is {value!r}; it must be {kind} {span}{f' up to {high:g}' * (high < np.inf)}")


def check_flag(value: Any, what: str) -> None:
    """A setting that must be true or false."""
    if not isinstance(value, bool):
        raise InvalidInputError(f"{what} is {value!r}; it must be true or false")


def check_choice(value: Any, what: str, choices: tuple[str, ...]) -> None:
    """A setting that must be one of some words."""
    if value not in choices:
        raise unknown_name(what, value, choices)


def check_numbers(
    values: Any, what: str, low: float, *, integer: bool = False, open_low: bool = False, min_length: int = 1
) -> None:
    """A setting that must be a tuple of numbers."""
    if not isinstance(values, tuple) or len(values) < min_length:
        raise InvalidInputError(f"{what} is {values!r}; it must be a list of at least {min_length} numbers")
    for value in values:
        check_number(value, f"{what}: an entry", low, integer=integer, open_low=open_low)


def take_tensor(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...], what: str) -> np.ndarray:
    """tensors[name], which must have `shape` (None: any length) and be finite floats."""
    _require(tensors, name, what)
    array = np.asarray(tensors[name])
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind != "f" or not np.isfinite(array).all():
        wanted = tuple("any" if want is None else want for want in shape)
        raise InvalidInputError(
            f"{what}: tensor {name!r} is {array.dtype} of shape {array.shape}; it must be finite floats of {wanted}"
        )
    return np.ascontiguousarray(array)


def take_bytes(tensors: Mapping[str, np.ndarray], name: str, what: str) -> bytes:
    """tensors[name], which must be (n,) uint8."""
    _require(tensors, name, what)
    array = np.asarray(tensors[name])
    if array.ndim != 1 or array.dtype != np.uint8:
        raise InvalidInputError(
            f"{what}: tensor {name!r} is {array.dtype} of shape {array.shape}; it must be uint8 of one axis"
        )
    return array.tobytes()


def _require(tensors: Mapping[str, np.ndarray], name: str, what: str) -> None:
    if name not in tensors:
        raise InvalidInputError(f"{what}: tensor {name!r} is missing; there are {', '.join(sorted(tensors)) or 'none'}")


def not_fitted(what: str) -> InvalidInputError:
    """The error for using a model before its fit."""
    return InvalidInputError(f"{what} is not fitted; call fit, or load it with from_tensors")
