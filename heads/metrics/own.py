"""Metrics of one's own: a function, or a class whose objects are called, of the outcomes and of what a head says.

```python
class Youden:
    \"\"\"Youden's J of the second class.\"\"\"
    title, better, kinds = "Youden's J", "higher", ("classes",)  # these are the defaults, but for the title

    def __init__(self, threshold=0.5):
        self.threshold = threshold

    def __call__(self, y, said):  # (n,) int64, (n, k) float64
        positive = said[:, 1] >= self.threshold
        return positive[y == 1].mean() - positive[y == 0].mean()
```

| kind of target | y | said |
|---|---|---|
| classes, ordinal | (n,) int64, 0 … k-1 | (n, k) probabilities |
| multilabel | (n, L), NaN where not looked at | (n, L) probabilities |
| value | (n,) | (n,) |
| survival | (n, 2): time, event | (n,) the risk |

It may return None where it is not defined. For intervals it is called 2,000 times for each run; `drawn`, as of
`metric.Drawn`, does that at once where it matters. Its name holds the digest of its code, as that of a model of one's
own does: what changed code says is another metric.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.fingerprint import PLAIN, fingerprint, kept_parameters
from guidestore.embeddings.outcomes import KINDS, ONE_CLASS_KINDS, TargetKind
from guidestore.embeddings.plugins import load_object
from guidestore.embeddings.source import UNVERSIONED
from guidestore.heads.metrics.metric import Drawn, Metric, Scored

_SHORT = 12
"""Characters of a title that is its column's head too."""


def own_metric(given: Any, called: str = "") -> Metric:
    """Of ``module:Class`` (of the working directory too), a class, a function or an object. called: its name, where
    that is not that of its class. Raises InvalidInputError."""
    found = load_object("metric", given, here=True) if isinstance(given, str) else given
    of = _made(found) if inspect.isclass(found) else found
    code = fingerprint(of)
    name = called or code.name
    if not callable(of):
        raise InvalidInputError(f"metric {name!r} is not called with y and said, so it is none; give it __call__")
    kind, _, digest = code.source.rpartition("-")
    shown = f"{name}@{f'{kind}-' if kind else ''}{digest[:8]}{_parameters(of)}"
    title = str(getattr(of, "title", getattr(of, "__name__", type(of).__name__)))
    better = getattr(of, "better", "higher")
    if better not in ("higher", "lower"):
        raise InvalidInputError(f"metric {name!r} is better {better!r}; write higher or lower")
    kinds = _kinds(of, name)
    asked = _asking(of, name, kinds)
    drawn: Any = getattr(of, "drawn", None)
    return Metric(
        shown,
        title,
        str(getattr(of, "short", title if len(title) <= _SHORT else title[: _SHORT - 1] + "…")),
        _value(asked),
        _checked(drawn, _value(asked), name) if drawn is not None else _by_repeating(asked),
        better=better,
        kinds=kinds,
        from_0_to_1=False,
    )


def is_kept(metric: str) -> bool:
    """Whether what a metric of one's own says may be stored: not where its code cannot be told from other code."""
    return f"@{UNVERSIONED}" not in metric


def _made(of: Any) -> Any:
    try:
        return of()
    except Exception as error:
        raise InvalidInputError(
            f"metric {of.__name__} cannot be made without parameters ({type(error).__name__}: {error}); give them "
            "defaults, or pass an object"
        ) from error


def _parameters(of: Any) -> str:
    if inspect.isfunction(of):
        return ""
    try:
        plain = {name: value for name, value in kept_parameters(of).items() if isinstance(value, PLAIN)}
    except (LookupError, ValueError):
        return ""
    shown = ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in plain.items()
    )
    return f"({shown})" if shown else ""


def _kinds(of: Any, name: str) -> frozenset[TargetKind]:
    given = getattr(of, "kinds", ("classes",))
    kinds: frozenset[Any] = frozenset((given,) if isinstance(given, str) else given)
    unknown = kinds - set(KINDS)
    if unknown or not kinds or not (len(kinds) == 1 or kinds <= set(ONE_CLASS_KINDS)):
        raise InvalidInputError(
            f"metric {name!r} is for {', '.join(sorted(kinds)) or 'nothing'}; name one kind of target, or classes and "
            "ordinal, which are given alike"
        )
    return kinds


type _Asked = Callable[[np.ndarray, np.ndarray], float | None]
"""Of truth and outputs, as `metric.Scored` has them; they are its own."""


def _asking(of: Any, name: str, kinds: frozenset[TargetKind]) -> _Asked:
    """Raises InvalidInputError, whatever `of` raises."""

    def told(y: np.ndarray, said: np.ndarray) -> float | None:
        if "value" in kinds:
            y, said = y[:, 0], said[:, 0]
        elif "survival" in kinds:
            y, said = y[:, :2], said[:, 0]
        try:
            value = of(y, said)
            value = math.nan if value is None else float(value)
        except Exception as error:
            raise InvalidInputError(f"metric {name!r} failed ({type(error).__name__}: {error}); mend it") from error
        if math.isinf(value):
            raise InvalidInputError(f"metric {name!r} is not finite; return None where it is not defined")
        return None if math.isnan(value) else value

    return told


def _value(asked: _Asked) -> Callable[[Scored], float | None]:
    def value(scored: Scored) -> float | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return asked(scored.labels.copy(), scored.probabilities.copy())

    return value


def _by_repeating(asked: _Asked) -> Drawn:
    def drawn(counts_bn: np.ndarray, truth: np.ndarray, outputs_rnk: np.ndarray) -> np.ndarray:
        told = np.full((len(counts_bn), len(outputs_rnk)), np.nan)
        for b, counts_n in enumerate(counts_bn):
            rows = np.repeat(np.arange(len(counts_n)), counts_n.astype(np.int64))
            for r, outputs_nk in enumerate(outputs_rnk) if len(rows) else ():
                try:
                    said = asked(truth[rows], outputs_nk[rows])
                except InvalidInputError:
                    if (counts_n == 1).all():
                        raise
                    continue  # a draw without a class, say
                told[b, r] = np.nan if said is None else said
        return told

    def quietly(counts_bn: np.ndarray, truth: np.ndarray, outputs_rnk: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return drawn(counts_bn, truth, outputs_rnk)

    return quietly


def _checked(own: Drawn, value: Callable[[Scored], float | None], name: str) -> Drawn:
    """The drawn form of others, given copies: of the right shape, and where each case is counted once the metric
    itself."""

    def drawn(counts_bn: np.ndarray, truth: np.ndarray, outputs_rnk: np.ndarray) -> np.ndarray:
        try:
            told = np.asarray(own(counts_bn.copy(), truth.copy(), outputs_rnk.copy()), dtype=np.float64)
        except Exception as error:
            raise InvalidInputError(
                f"metric {name!r} failed to be drawn ({type(error).__name__}: {error}); mend its drawn, or leave it out"
            ) from error
        if told.shape != (len(counts_bn), len(outputs_rnk)):
            raise InvalidInputError(
                f"metric {name!r}: drawn gives shape {told.shape}; it must be (draws, runs), "
                f"{(len(counts_bn), len(outputs_rnk))}"
            )
        for b in np.flatnonzero((counts_bn == 1).all(axis=1)):
            itself = [value(Scored(truth, outputs_nk)) for outputs_nk in outputs_rnk]
            expected = np.array([np.nan if one is None else one for one in itself])
            if not np.allclose(told[b], expected, rtol=1e-6, atol=1e-9, equal_nan=True):
                raise InvalidInputError(
                    f"metric {name!r}: drawn gives {told[b, 0]:.6g} where each case counts once, and the metric itself "
                    f"is {expected[0]:.6g}; mend one of them"
                )
        return told

    return drawn
