"""A fusion and the decoders that read its views, as one decoder of two codes side by side."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import KINDS, TargetKind
from guidestore.heads.checks import check_codes, check_number, check_seed, not_fitted
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.fusion.common.checks import check_fit_of
from guidestore.heads.fusion.common.protocol import Fusion
from guidestore.heads.model import fitted_alone
from guidestore.heads.onnx_graph.graph import Value, onnx_of
from guidestore.heads.protocol import Decoder, DecoderProblem, Foreteller, FrozenDecoder, FrozenForeteller
from guidestore.heads.registry import load_any_decoder, load_fusion

type Views = tuple[np.ndarray, ...]
type Parts = Sequence[Fusion | Decoder | Foreteller]


class Fused:
    """The mean of what one decoder per view of a fusion says, on codes (n, d_left + d_right). What it says has a class
    each: FusedDecoder, FusedForeteller, …

    facts: fusion_* of the fusion; the decoder's own, with view0_, view1_ in front where there are several.
    """

    name: ClassVar[str] = "fused"
    kind: TargetKind = "classes"
    """Of the target."""

    def __init__(self, fusion: Fusion, decoder: Decoder | Foreteller, widths: Sequence[int]) -> None:
        """fusion, decoder: unfitted; copies of them are fitted, the decoder once per view. widths: d_left, d_right."""
        self.fusion, self.decoder, self.widths = fusion, decoder, _check_widths(widths)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Fusion, tuple[FrozenDecoder | FrozenForeteller, ...]] | None = None

    @property
    def config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **({} if self.kind == "classes" else {"kind": self.kind}),
            "widths": list(self.widths),
            "fusion": self.fusion.config,
            "decoder": self.decoder.config,
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
        return fitted_alone(
            self.fit_many([DecoderProblem(cast(Any, self), x_nd, labels, x_val_nd, labels_val, n_classes, seed)])
        )

    @classmethod
    def fit_many(cls, problems: Sequence[DecoderProblem], *, device: str = "cpu") -> list[Self | DivergedError]:
        """Equal fusions are fitted once, and so are equal decoders of equal views: where codes are fused late, z_I is
        the same for every G. device: of the decoders; fusions train on the CPU."""
        fit = _Fit(device)
        models = [cast(Self, problem.decoder) for problem in problems]
        return [model._take(parts) for model, parts in zip(models, fit.parts(models, problems), strict=True)]

    def _take(self, parts: Parts | DivergedError) -> Self | DivergedError:
        """What was fitted for this decoder: the fusion and a decoder per view."""
        if isinstance(parts, DivergedError):
            return parts
        fusion, *decoders = cast(tuple[Fusion, *tuple[Decoder | Foreteller, ...]], parts)
        self._fitted = (fusion, tuple(decoders))
        self.facts = {f"fusion_{name}": value for name, value in fusion.facts.items()}
        for i, decoder in enumerate(decoders):
            prefix = f"view{i}_" if len(decoders) > 1 else ""
            self.facts |= {prefix + name: value for name, value in decoder.facts.items()}
        return self

    def split(self, x_nd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The left and the right code, C-contiguous. Raises InvalidInputError."""
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=sum(self.widths))
        left_nd, right_nd = np.hsplit(x_nd, [self.widths[0]])
        return np.ascontiguousarray(left_nd), np.ascontiguousarray(right_nd)

    def views(self, x_nd: np.ndarray) -> list[tuple[Any, np.ndarray]]:
        """Each decoder with what it reads."""
        if self._fitted is None:
            raise not_fitted(self.name)
        fusion, decoders = self._fitted
        return list(zip(decoders, fusion.views(self.split(x_nd)), strict=True))

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        fusion, decoders = self._fitted
        kept = {f"fusion_{name}": array for name, array in fusion.tensors().items()}
        for i, decoder in enumerate(decoders):
            kept |= {f"view{i}_{name}": array for name, array in decoder.tensors().items()}
        return kept

    def onnx(self, x: Value) -> Value:
        if self._fitted is None:
            raise not_fitted(self.name)
        (fusion, decoders), (left, right) = self._fitted, self.widths
        write = getattr(fusion, "onnx", None)
        if write is None:
            raise InvalidInputError(f"fusion {fusion.name!r} has no ONNX form; export a head without it")
        views = write(x.columns(0, left), x.columns(left, left + right))
        total, *more = (onnx_of(decoder, view) for decoder, view in zip(decoders, views, strict=True))
        for probabilities in more:
            total = total + probabilities
        return total / float(len(views))

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        missing = [name for name in ("widths", "fusion", "decoder") if name not in config]
        kind: Any = config.get("kind", "classes")
        if config.get("name") != cls.name or missing or kind not in KINDS:
            raise InvalidInputError(
                f"a config of {config.get('name')!r} cannot make a {cls.name} decoder: it lacks "
                f"{', '.join(missing) or 'its name'}; load it by its own name"
            )
        fusion = load_fusion(config["fusion"], _own(tensors, "fusion_"))
        decoders = tuple(load_any_decoder(config["decoder"], _own(tensors, f"view{i}_")) for i in range(fusion.n_views))
        model = fused_of(kind, fusion, cast(Any, decoders[0]), config["widths"])
        model._fitted = (fusion, decoders)
        return cast(Self, model)


class FusedDecoder(Fused):
    """Of classes and grades. Contract: heads.protocol.BatchDecoder."""

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        return np.mean([decoder.predict_proba(view_nd) for decoder, view_nd in self.views(x_nd)], axis=0)


class FusedForeteller(Fused):
    """Of values and several labels. Contract: heads.protocol.Foreteller, and BatchDecoder's fit_many."""

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        """The mean of values, risks, or probabilities."""
        return np.mean([decoder.predict(view_nd) for decoder, view_nd in self.views(x_nd)], axis=0)


class FusedSurvival(FusedForeteller):
    """Of survival. Contract: heads.protocol.SurvivalForeteller."""

    def survival(self, x_nd: np.ndarray, times_t: np.ndarray) -> np.ndarray:
        """The mean of the shares."""
        return np.mean([decoder.survival(view_nd, times_t) for decoder, view_nd in self.views(x_nd)], axis=0)


def fused_of(kind: TargetKind, fusion: Fusion, decoder: Decoder | Foreteller, widths: Sequence[int]) -> Fused:
    """For a target of that kind."""
    classes = {"classes": FusedDecoder, "ordinal": FusedDecoder, "survival": FusedSurvival}
    made = classes.get(kind, FusedForeteller)(fusion, decoder, widths)
    made.kind = kind
    return made


def _check_widths(widths: Sequence[int]) -> tuple[int, int]:
    if len(widths) != 2:
        raise InvalidInputError(f"fused: widths are {list(widths)}; give those of the left and of the right code")
    for width in widths:
        check_number(width, "fused: a width", 1, integer=True)
    return int(widths[0]), int(widths[1])


def _own(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _key(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)


@dataclass(slots=True)
class _Fit:
    """One call of `fit_many`: what its problems share."""

    device: str
    _arrays: dict[bytes, np.ndarray] = field(default_factory=dict)
    """By content."""
    _blocks: dict[Hashable, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """(object of the codes, widths) -> left and right code."""
    _fusions: dict[Hashable, tuple[Fusion, Views, Views] | DivergedError] = field(default_factory=dict)
    """By what they are fitted on: the fusion, its views of train and of val."""

    def parts(self, models: Sequence[Fused], problems: Sequence[DecoderProblem]) -> list[Parts | DivergedError]:
        """Per problem the fitted fusion and its decoders, or the first divergence."""
        for model, p in zip(models, problems, strict=True):
            model._fitted, model.facts = None, {}
            check_fit_of(model.kind, p.x_nd, p.labels, p.x_val_nd, p.labels_val, p.n_classes, model.name)
            check_seed(p.seed)
            self._split(model, p.x_nd)
        fused = [self._fuse(model, p) for model, p in zip(models, problems, strict=True)]
        wanted: dict[Hashable, DecoderProblem] = {}
        keys: list[list[Hashable]] = []
        for model, p, result in zip(models, problems, fused, strict=True):
            keys.append([])
            if isinstance(result, DivergedError):
                continue
            for x_nd, x_val_nd in zip(*result[1:], strict=True):
                key = (*_fitted_on(p), id(x_nd), id(x_val_nd), _key(model.decoder.config))
                keys[-1].append(key)
                if key not in wanted:
                    decoder = copy.deepcopy(model.decoder)
                    wanted[key] = DecoderProblem(decoder, x_nd, p.labels, x_val_nd, p.labels_val, p.n_classes, p.seed)
        done = fit_decoders(list(wanted.values()), device=self.device)
        fitted = dict(zip(wanted, done, strict=True))
        return [_whole(result, [fitted[key] for key in own]) for result, own in zip(fused, keys, strict=True)]

    def _fuse(self, model: Fused, p: DecoderProblem) -> tuple[Fusion, Views, Views] | DivergedError:
        train, val = self._split(model, p.x_nd), self._split(model, p.x_val_nd)
        key = (*_fitted_on(p), *map(id, train + val), _key(model.fusion.config))
        if key not in self._fusions:
            try:
                fusion = copy.deepcopy(model.fusion)
                of: dict[str, Any] = {} if model.kind == "classes" else {"kind": model.kind}
                fusion.fit(train, p.labels, val, p.labels_val, n_classes=p.n_classes, seed=p.seed, **of)
                views, views_val = (tuple(map(self._once, fusion.views(blocks))) for blocks in (train, val))
                self._fusions[key] = (fusion, views, views_val)
            except DivergedError as error:
                self._fusions[key] = error
        return self._fusions[key]

    def _split(self, model: Fused, x_nd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = (id(x_nd), model.widths)
        if key not in self._blocks:
            left_nd, right_nd = model.split(x_nd)
            self._blocks[key] = (self._once(left_nd), self._once(right_nd))
        return self._blocks[key]

    def _once(self, codes_nd: np.ndarray) -> np.ndarray:
        """The first array of this content: decoders on the same object share work."""
        content = hashlib.blake2b(codes_nd, digest_size=16)
        content.update(repr((codes_nd.shape, codes_nd.dtype)).encode())
        return self._arrays.setdefault(content.digest(), codes_nd)


def _fitted_on(p: DecoderProblem) -> tuple[Hashable, ...]:
    labels, labels_val = (np.asarray(part).tobytes() for part in (p.labels, p.labels_val))
    return (labels, labels_val, p.n_classes, p.seed)


def _whole(
    fused: tuple[Fusion, Views, Views] | DivergedError, decoders: Sequence[Decoder | Foreteller | DivergedError]
) -> Parts | DivergedError:
    """The parts of one decoder, or the first that diverged."""
    parts = [fused if isinstance(fused, DivergedError) else fused[0], *decoders]
    whole = [part for part in parts if not isinstance(part, DivergedError)]
    return whole if len(whole) == len(parts) else next(part for part in parts if isinstance(part, DivergedError))
