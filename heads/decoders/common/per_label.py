"""Several labels at once: a decoder of classes for each of them, on the cases that were looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_codes, check_seed, not_fitted
from guidestore.heads.choice import Choice
from guidestore.heads.errors import DivergedError
from guidestore.heads.model import fitted_alone
from guidestore.heads.onnx_graph.graph import Value, onnx_of
from guidestore.heads.protocol import Decoder, DecoderProblem


class PerLabel:
    """Contract: heads.protocol.Foreteller, and BatchDecoder's fit_many: all labels of all problems are fitted together,
    and share G and codes.

    A label that val has not looked at stops on its train cases.
    """

    name: ClassVar[str] = "per_label"
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"multilabel"})

    def __init__(self, choice: Choice, *, target: str = "") -> None:
        from guidestore.heads.registry import build_decoder

        self._choice, self._target = choice, target
        self._config = build_decoder(choice.name, target=target, **choice.params).config
        self.decoders: tuple[Decoder, ...] = ()
        """(L,) fitted."""

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "per_label", "kind": "multilabel", "decoder": self._config}

    @property
    def keeps_train_codes(self) -> bool:
        """Whether those within do."""
        return any(getattr(decoder, "keeps_train_codes", False) for decoder in self.decoders)

    @property
    def facts(self) -> dict[str, float]:
        """The means over the labels."""
        names = self.decoders[0].facts if self.decoders else {}
        return {
            name: float(np.mean([decoder.facts[name] for decoder in self.decoders]))
            for name in names
            if all(name in decoder.facts for decoder in self.decoders)
        }

    def fit(
        self,
        x_nd: np.ndarray,
        labels: np.ndarray,
        x_val_nd: np.ndarray,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
    ) -> Self:
        return fitted_alone(self.fit_many([DecoderProblem(self, x_nd, labels, x_val_nd, labels_val, n_classes, seed)]))

    @classmethod
    def fit_many(cls, problems: Sequence[DecoderProblem], *, device: str = "cpu") -> list[Self | DivergedError]:
        """As heads.protocol.BatchDecoder.fit_many."""
        from guidestore.heads.fitting import fit_decoders
        from guidestore.heads.registry import build_decoder

        within: list[DecoderProblem] = []
        shared: dict[tuple[int, bytes], np.ndarray] = {}
        for problem in problems:
            model = cast(Self, problem.decoder)
            model.decoders = ()
            for label in range(problem.n_classes):
                parts = []
                for codes_nd, y in ((problem.x_nd, problem.labels), (problem.x_val_nd, problem.labels_val)):
                    known = ~np.isnan(y[:, label])
                    key = (id(codes_nd), known.tobytes())
                    if key not in shared:  # one array for all that read the same, so that they share work
                        shared[key] = codes_nd if known.all() else codes_nd[known]
                    parts += [shared[key], y[known, label].astype(np.int64)]
                if not len(parts[2]):
                    raise InvalidInputError(
                        f"{model._choice.name}: no val case was looked at for label {label + 1} of "
                        f"{problem.n_classes}; leave the label out, or draw another split"
                    )
                decoder = build_decoder(model._choice.name, target=model._target, **model._choice.params)
                x_nd, y_n, x_val_nd, y_val_n = parts
                within.append(DecoderProblem(decoder, x_nd, y_n, x_val_nd, y_val_n, 2, check_seed(problem.seed)))
        fitted = iter(fit_decoders(within, device=device))
        results: list[Self | DivergedError] = []
        for problem in problems:
            own = [next(fitted) for _ in range(problem.n_classes)]
            lost = next((one for one in own if isinstance(one, DivergedError)), None)
            model = cast(Self, problem.decoder)
            model.decoders = tuple(cast(Decoder, one) for one in own) if lost is None else ()
            results.append(model if lost is None else lost)
        return results

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        if not self.decoders:
            raise not_fitted(self.name)
        x_nd = check_codes(x_nd, f"{self.name}: codes")
        return np.column_stack([decoder.predict_proba(x_nd)[:, 1] for decoder in self.decoders])

    def tensors(self) -> dict[str, np.ndarray]:
        """Those of each label, with its number in front."""
        if not self.decoders:
            raise not_fitted(self.name)
        return {
            f"label{i}_{name}": array
            for i, decoder in enumerate(self.decoders)
            for name, array in decoder.tensors().items()
        }

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        from guidestore.heads.registry import load_decoder

        within = config.get("decoder")
        if config.get("name") != "per_label" or not isinstance(within, Mapping):
            raise InvalidInputError(f"a config of {config.get('name')!r} cannot make a per_label; load it by its own")
        model = cls.__new__(cls)
        model._config = dict(within)
        model._choice, model._target = Choice.of(str(within.get("name", ""))), ""
        own: dict[int, dict[str, np.ndarray]] = {}
        for name, array in tensors.items():
            label, _, rest = name.partition("_")
            if not label.startswith("label") or not label[5:].isdigit():
                raise InvalidInputError(f"per_label: tensor {name!r} is of no label; the weights are of another model")
            own.setdefault(int(label[5:]), {})[rest] = array
        if sorted(own) != list(range(len(own))) or not own:
            raise InvalidInputError("per_label: the weights of some label are missing; they are damaged")
        model.decoders = tuple(cast(Decoder, load_decoder(within, own[i])) for i in range(len(own)))
        return model

    def onnx(self, x: Value) -> Value:
        first, *others = (onnx_of(decoder, x).columns(1, 2) for decoder in self.decoders)
        for other in others:
            first = first.beside(other)
        return first
