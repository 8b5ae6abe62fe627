"""How a model of one's own is fitted and kept: as it keeps itself, as a torch module, or by fitting it again."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, ClassVar, Literal

import numpy as np

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.heads.checks import take_tensor
from guidestore.heads.own.code import Own

type Says = Literal["predict", "predict_proba", "transform"]
type Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a model is fitted on, checked."""

    x_nd: np.ndarray
    """(n, d) float32."""
    y: np.ndarray
    """z_S (n, d_S) float32 of a guidance model; what a decoder learns."""
    seed: int
    val: tuple[np.ndarray, np.ndarray] | None = None
    """x and y to stop early on; None for a guidance model."""
    more: Mapping[str, Any] | None = None
    """What else `fit` may take by name: n_classes of a decoder; decoder of a guidance model that needs it."""


class Way(ABC):
    """A model of one's own, fitted or not. What it raises comes out as InvalidInputError, in a sentence."""

    keeps_train_codes: ClassVar[bool] = False

    def __init__(self, own: Own, params: Mapping[str, Any], says: Says) -> None:
        self.own, self.params, self.says = own, dict(params), says

    @property
    def config(self) -> dict[str, Any]:
        """What else of its config is needed to load it."""
        return {}

    @abstractmethod
    def fit(self, lesson: Lesson) -> dict[str, float]:
        """Facts."""

    @abstractmethod
    def say(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) float32 -> what it predicts, unchecked."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """What the fit learnt."""

    @abstractmethod
    def restore(self, config: Mapping[str, Any], tensors: Tensors) -> None:
        """The inverse of `tensors`. Raises InvalidInputError."""

    @contextmanager
    def speaking(self, doing: str) -> Iterator[None]:
        """Turns what others' code raises into a sentence."""
        try:
            yield
        except GuidestoreError:
            raise
        except Exception as error:
            raise InvalidInputError(
                f"{self.own.kind} {self.own.name!r} failed to {doing} ({type(error).__name__}: {error}); mend it, or "
                "what it was given"
            ) from error


# As it keeps itself --------------------------------------------------------------------------------------------------


class Keeping(Way):
    """One that follows heads.protocol: `config`, `tensors`, `from_tensors`. It is given copies, so that it never writes
    into what others read."""

    def __init__(self, own: Own, params: Mapping[str, Any], says: Says) -> None:
        super().__init__(own, params, says)
        self.model = own.build(params)

    @property
    def keeps_train_codes(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return getattr(self.model, "keeps_train_codes", False)

    @property
    def config(self) -> dict[str, Any]:
        return {"model": dict(self.model.config)}

    def fit(self, lesson: Lesson) -> dict[str, float]:
        val = (lesson.val[0].copy(), lesson.val[1].copy()) if lesson.val else None
        with self.speaking("fit"):
            self.model = _fitted(self.model, replace(lesson, x_nd=lesson.x_nd.copy(), y=lesson.y.copy(), val=val))
        return dict(getattr(self.model, "facts", {}))

    def say(self, x_nd: np.ndarray) -> np.ndarray:
        with self.speaking("predict"):
            return np.asarray(getattr(self.model, self.says)(x_nd.copy()))

    def tensors(self) -> dict[str, np.ndarray]:
        with self.speaking("give its tensors"):
            return {name: np.ascontiguousarray(array) for name, array in self.model.tensors().items()}

    def restore(self, config: Mapping[str, Any], tensors: Tensors) -> None:
        if not isinstance(config.get("model"), Mapping):
            raise InvalidInputError(
                f"the config of {self.own.name} lacks its model; it does not say how it was trained"
            )
        with self.speaking("load"):
            self.model = self.own.of.from_tensors(config["model"], tensors)


def _fitted(model: Any, lesson: Lesson) -> Any:
    """`fit` with what it takes of a lesson: train; val where it has room for that; the rest by name."""
    takes = inspect.signature(model.fit).parameters
    any_name = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    by_name = {"seed": lesson.seed, **(lesson.more or {})}
    positional = [p for p in takes.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    wants_val = lesson.val is not None and len([p for p in positional if p.name not in by_name]) >= 4
    arrays = (lesson.x_nd, lesson.y, *(lesson.val if lesson.val and wants_val else ()))
    taken = {name: value for name, value in by_name.items() if name in takes or (any_name and _follows(model))}
    fitted = model.fit(*arrays, **taken)
    return model if fitted is None else fitted


def _follows(model: Any) -> bool:
    """Whether it is of heads.protocol, whose fits take these names; others may pass names on to where none is known."""
    return hasattr(model, "tensors")


# By fitting it again -------------------------------------------------------------------------------------------------

MOST_SAID = 64
"""Train rows whose prediction is kept to tell whether a fit came out the same."""
CLOSE = 1e-5
"""How far, of the largest value, a prediction of the same fit may be off: BLAS sums in another order elsewhere."""


class Refitted(Way):
    """Anything with `fit` and `predict` or `predict_proba`: kept as what it was fitted on, and fitted again to load.

    So nothing is unpickled, whatever it is made of. Some predictions are kept too: where the fit comes out otherwise,
    as with another version of its package, it is refused.
    """

    keeps_train_codes = True

    def __init__(self, own: Own, params: Mapping[str, Any], says: Says) -> None:
        super().__init__(own, params, says)
        self.model = own.build(params)
        for method in ("fit", says):
            if not hasattr(self.model, method):
                raise InvalidInputError(f"{own.kind} {own.name!r} has no {method}{_HINTS.get(method, '')}")
        self._lesson: Lesson | None = None

    def fit(self, lesson: Lesson) -> dict[str, float]:
        self._lesson = lesson
        model = self.own.build(self.params)
        # scikit-learn computes in the precision of what it is given; networks of skorch take float32 alone.
        as_type = np.float32 if any(c.__module__.startswith("skorch") for c in type(model).__mro__) else np.float64
        self._as_given: Callable[[np.ndarray], np.ndarray] = lambda array: _cast(array, as_type)
        val = (self._as_given(lesson.val[0]), self._as_given(lesson.val[1])) if lesson.val else None
        y = self._as_given(lesson.y)
        given = Lesson(self._as_given(lesson.x_nd), y, lesson.seed, val, lesson.more)
        with self.speaking("fit"), drawn_from(lesson.seed):
            self.model = _fitted(model, given)
        facts = getattr(self.model, "facts", {})
        return {str(name): float(value) for name, value in facts.items()} if isinstance(facts, Mapping) else {}

    def say(self, x_nd: np.ndarray) -> np.ndarray:
        with self.speaking("predict"):
            return np.asarray(getattr(self.model, self.says)(self._as_given(x_nd)), dtype=np.float64)

    def tensors(self) -> dict[str, np.ndarray]:
        lesson = self._lesson
        assert lesson is not None  # noqa: S101  (its caller's: it is fitted)
        kept = {"train_x": lesson.x_nd, "train_y": lesson.y, "seed": np.array([lesson.seed], dtype=np.int64)}
        if lesson.val:
            kept |= {"val_x": lesson.val[0], "val_y": lesson.val[1]}
        kept |= {f"given_{name}": np.array([value]) for name, value in (lesson.more or {}).items()}
        return kept | {"said": self.say(_some(lesson.x_nd))}

    def restore(self, config: Mapping[str, Any], tensors: Tensors) -> None:
        name = self.own.name
        for needed in ("train_x", "train_y", "seed", "said"):
            if needed not in tensors:
                there = ", ".join(sorted(tensors)) or "none"
                raise InvalidInputError(f"{name}: tensor {needed!r} is missing; there are {there}")
        x_nd = take_tensor(tensors, "train_x", (None, None), name)
        more = {
            key.removeprefix("given_"): array[0].item() for key, array in tensors.items() if key.startswith("given_")
        }
        val = (tensors["val_x"], tensors["val_y"]) if "val_x" in tensors and "val_y" in tensors else None
        self.fit(Lesson(x_nd, tensors["train_y"], int(tensors["seed"][0]), val, more))
        said, again = np.asarray(tensors["said"]), self.say(_some(x_nd))
        if said.shape != again.shape or not np.allclose(said, again, rtol=0, atol=CLOSE * max(1.0, np.abs(said).max())):
            raise InvalidInputError(
                f"{name} is fitted again to load it, and came out otherwise than when it was trained; install the "
                f"version of {self.own.code.package or 'its packages'} that it was trained with, or train again"
            )


_HINTS = {
    "predict_proba": ", so it is no decoder; take one that foretells probabilities, or put it into scikit-learn's "
    "CalibratedClassifierCV",
    "predict": ", so it is no guidance model; take one that predicts many outputs",
    "transform": ", so it is no fusion; take one that makes codes of codes",
    "fit": "; give it one, or make it a torch.nn.Module",
}


def _cast(array: np.ndarray, as_type: type) -> np.ndarray:
    """A copy, so that nobody writes into what others read; labels stay as they are."""
    return array.astype(as_type) if array.dtype.kind == "f" else array.copy()


def _some(x_nd: np.ndarray) -> np.ndarray:
    """At most MOST_SAID rows, evenly."""
    return x_nd[np.unique(np.linspace(0, len(x_nd) - 1, MOST_SAID).astype(int))]


_one_at_a_time = Lock()


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Global generators begin at the seed and are then put back: others' code draws from them.

    One block at a time, as there is one of each.
    """
    import random

    import torch

    with _one_at_a_time:
        kept = (random.getstate(), np.random.get_state(), torch.get_rng_state())
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])
            torch.set_rng_state(kept[2])
