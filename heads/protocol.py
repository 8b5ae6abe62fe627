"""The contracts of guidance models and decoders, stated once.

What holds for every implementation:

- **numpy in, numpy out.** Codes are float (n, d), n >= 1, finite; they are read as float32. Anything else (NaN of a
  missing modality, another d than at the fit, another number of rows than the labels) raises InvalidInputError.
- **Fit sees train alone.** Scaling, weights and every chosen number come from the train rows. Decoders also get val
  rows, only to stop early or to choose one hyper-parameter; guidance models get none. Nobody gets test rows.
- **Labels** are the outcomes `y` of the target's kind (embeddings.outcomes), none of them missing but single labels of
  a multilabel target. Classes and grades: integers 0 <= label < n_classes; every class must occur in train, val may
  lack some.
- **A decoder says which kinds it learns** (`kinds`; classes alone, where it says none). What learns classes has
  `predict_proba`; all else has `predict`, in the units of y: of survival a risk, larger is worse, of no unit.
- **Deterministic given the seed** on one machine, torch version and thread count. The seed (0 <= seed < 2**63) drives a
  generator of the fit's own; no global generator is read or seeded. A method without randomness ignores the seed.
- **State is config and tensors.** `from_tensors(config, tensors())` predicts bit for bit what the fitted object
  predicts. `config` is JSON-able and starts with {"name": NAME}; `tensors` are C-contiguous arrays that safetensors
  can hold. Both before the fit: `config` is there, `tensors` and predictions raise InvalidInputError.
- **Prediction is row by row**: a row's value does not depend on its neighbours (beyond the last float64 digits).
- A fit that leaves the finite numbers raises DivergedError; the object is then not fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.errors import DivergedError
from guidestore.heads.networks import Layers


class GuidanceModel(Protocol):
    """G: z_I -> z_S (paper, eq. 4). Sees pairs, never labels."""

    name: ClassVar[str]

    @property
    def config(self) -> dict[str, Any]:
        """{"name": …} and every hyper-parameter: enough to build the unfitted object again."""
        ...

    @property
    def facts(self) -> dict[str, float]:
        """What the last fit found, for the run's record (chosen alpha, last loss); {} on loaded objects."""
        ...

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> Self:
        """Fit on train pairs: row i of z_inferior_nd (n, d_I) and of z_superior_nd (n, d_S) are one case, n >= 2. seed:
        of its draws. Returns self."""
        ...

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        """z_inferior_nd (n, d_I) -> (n, d_S) float32, in the units of z_S."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """Name -> array, what the fit learnt; from_tensors takes them back."""
        ...

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        """The fitted object again. Raises InvalidInputError where a setting or tensor is missing or misshapen."""
        ...


class DecoderGuidedModel(GuidanceModel, Protocol):
    """A guidance model that some settings train through the frozen D_S of its row S. Optional.

    It so learns from labels, but only what D_S learnt from them: pairs without a label count as much as others.
    """

    @property
    def needs_decoder(self) -> bool:
        """Whether these settings do."""
        ...

    def fit(
        self,
        z_inferior_nd: np.ndarray,
        z_superior_nd: np.ndarray,
        *,
        seed: int,
        decoder: FrozenDecoder | None = None,
    ) -> Self:
        """As GuidanceModel.fit, on z_inferior_nd and z_superior_nd. decoder: D_S, fitted, on z_S. Raises
        InvalidInputError where it is needed and missing, is of other codes, or is of a kind that has no gradient."""
        ...


class FrozenDecoder(Protocol):
    """A decoder that only predicts: D_I and D_S, the heads of the trained classifiers, come as these."""

    name: ClassVar[str]

    @property
    def config(self) -> dict[str, Any]:
        """As in GuidanceModel."""
        ...

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, k) float64 class probabilities; rows sum to 1."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """Name -> array, what the fit learnt; from_tensors takes them back."""
        ...

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        """As in GuidanceModel."""
        ...


class FrozenForeteller(Protocol):
    """As FrozenDecoder, of an outcome that is no class: a value, a risk, or several labels at once."""

    name: ClassVar[str]
    kinds: ClassVar[frozenset[TargetKind]]

    @property
    def config(self) -> dict[str, Any]:
        """As in GuidanceModel, with {"kind": …} behind the name: names are alike where it is the same thing."""
        ...

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) -> (n,) float64 values, or risks; of several labels (n, L) probabilities, each of its own."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """Name -> array, what the fit learnt; from_tensors takes them back."""
        ...

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        """As in GuidanceModel."""
        ...


class SurvivalForeteller(FrozenForeteller, Protocol):
    """What also says who outlives a time. Optional."""

    def survival(self, x_nd: np.ndarray, times_t: np.ndarray) -> np.ndarray:
        """(n, d), (T,) times > 0 -> (n, T) float64 the share that outlives each."""
        ...


class Foreteller(FrozenForeteller, Protocol):
    """As Decoder, of an outcome that is no class."""

    @property
    def facts(self) -> dict[str, float]:
        """What the last fit found, as in Decoder."""
        ...

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
        """As Decoder.fit on x_nd, x_val_nd; labels and labels_val are y. n_classes: of several labels how many; else 1,
        and of no meaning."""
        ...


class LayeredDecoder(FrozenDecoder, Protocol):
    """A decoder that is fully connected layers behind a scaling at most: guidance can be trained through it. Optional.

    Other optional methods and facts of models: `onnx(value)`, what they compute as a graph (heads.onnx_graph), and
    `keeps_train_codes`, where their weights are codes of the train cases themselves: the names of such tensors have the
    word `train` in them (``train``, ``train_superior``), by which a purge of a case knows the weights that hold it.
    """

    def layers(self) -> Layers:
        """Codes as they come -> logits; a temperature after them is left out."""
        ...


class Decoder(FrozenDecoder, Protocol):
    """A decoder that can be fitted: D_c on [G(z_I), z_I] (paper, eq. 5), or on any other code."""

    @property
    def facts(self) -> dict[str, float]:
        """What the last fit found: best_epoch, val_loss, chosen C …; {} on loaded objects."""
        ...

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
        """Fit on codes x_nd (n, d) and (n,) labels of train; those of val, x_val_nd and labels_val, serve early
        stopping or one choice. Returns self."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GuidanceProblem:
    """One fit of a guidance model."""

    model: GuidanceModel
    """Unfitted, of this problem alone."""
    z_inferior_nd: np.ndarray
    """(n, d_I)."""
    z_superior_nd: np.ndarray
    """(n, d_S)."""
    seed: int
    decoder: FrozenDecoder | FrozenForeteller | None = None
    """D_S, for a DecoderGuidedModel that needs it."""


@dataclass(frozen=True, slots=True, eq=False)
class DecoderProblem:
    """One fit of a decoder. Problems on the same codes hold the same array objects, so that work can be shared."""

    decoder: Decoder | Foreteller
    """Unfitted, of this problem alone."""
    x_nd: np.ndarray
    """(n, d)."""
    labels: np.ndarray
    """(n,), or y of another kind."""
    x_val_nd: np.ndarray
    """(n_val, d)."""
    labels_val: np.ndarray
    """(n_val,), or y of another kind."""
    n_classes: int
    seed: int


class BatchGuidanceModel(GuidanceModel, Protocol):
    """A guidance model that can fit several at once. Optional: `heads.fitting` calls `fit` where this is missing."""

    @classmethod
    def fit_many(cls, problems: Sequence[GuidanceProblem], *, device: str) -> list[Self | DivergedError]:
        """Each problem's own model, fitted as its `fit` alone would, or its divergence; in order. (Rounding
        differs with the batch, and long training at a high learning rate can amplify it.)

        All problems are checked before any is trained. device: "cpu" or "cuda". Raises InvalidInputError.
        """
        ...


class BatchDecoder(Decoder, Protocol):
    """A decoder that can fit several at once; as BatchGuidanceModel."""

    @classmethod
    def fit_many(cls, problems: Sequence[DecoderProblem], *, device: str) -> list[Self | DivergedError]:
        """As BatchGuidanceModel.fit_many."""
        ...
