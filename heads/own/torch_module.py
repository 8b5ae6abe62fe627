"""A torch.nn.Module of one's own as a guidance model or a decoder: trained here, kept as its state dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_number, take_tensor
from guidestore.heads.networks import diverged, softmax
from guidestore.heads.own.code import Own
from guidestore.heads.own.ways import Lesson, Says, Tensors, Way, drawn_from
from guidestore.heads.scaling import Standardiser

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchTraining:
    """How a module is trained: Adam with decoupled weight decay, on standardised codes, on the CPU.

    These are parameters beside the module's own, which must have other names.
    """

    epochs: int = 50
    """A guidance model keeps the last; a decoder the one with the least val loss."""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 50

    def __post_init__(self) -> None:
        check_number(self.epochs, "epochs", 1, integer=True)
        check_number(self.learning_rate, "learning_rate", 0, open_low=True)
        check_number(self.weight_decay, "weight_decay", 0)
        check_number(self.batch_size, "batch_size", 1, integer=True)


def _columns(y: np.ndarray) -> np.ndarray:
    return y if y.ndim == 2 else y[:, None]


TRAINING = tuple(TorchTraining.__dataclass_fields__)


class TorchModule(Way):
    """A class of modules that takes d_in and d_out, then its parameters: (b, d_in) -> (b, d_out) float32.

    Of a guidance model d_out is d_S, of a decoder of values 1, and the loss is the squared error of what is
    standardised; of a decoder of classes d_out is their number, and the loss the cross-entropy of logits.
    """

    def __init__(self, own: Own, params: Mapping[str, Any], says: Says) -> None:
        super().__init__(own, {name: value for name, value in params.items() if name not in TRAINING}, says)
        self.training = TorchTraining(**{name: value for name, value in params.items() if name in TRAINING})
        with drawn_from(0):
            own.build(self.params, 2, 2)  # wrong parameters are told before anything is trained
        self._scales: tuple[Standardiser, Standardiser] | None = None
        self._module: Any = None

    def fit(self, lesson: Lesson) -> dict[str, float]:
        guides = self.says == "predict"
        scale_in = Standardiser.fit(lesson.x_nd)
        targets = [_columns(y) if guides else y for y in (lesson.y, *(lesson.val or ())[1:])]
        scale_out = Standardiser.fit(targets[0]) if guides else Standardiser.identity(1)
        d_out = targets[0].shape[1] if guides else int((lesson.more or {})["n_classes"])
        y, *y_val = [scale_out.apply(given).astype(np.float32) if guides else given for given in targets]
        val = (scale_in.apply(lesson.val[0]).astype(np.float32), y_val[0]) if lesson.val else None
        with self.speaking("fit"), drawn_from(lesson.seed):
            module = self.own.build(self.params, lesson.x_nd.shape[1], d_out)
            facts = self._train(module, scale_in.apply(lesson.x_nd).astype(np.float32), y, val)
        self._scales, self._module = (scale_in, scale_out), module.double().eval()
        return facts

    def _train(
        self, module: torch.nn.Module, x_nd: np.ndarray, y: np.ndarray, val: tuple[np.ndarray, np.ndarray] | None
    ) -> dict[str, float]:
        import copy

        import torch

        use = self.training
        loss_of = torch.nn.MSELoss() if self.says == "predict" else torch.nn.CrossEntropyLoss()
        x, target = torch.from_numpy(x_nd), torch.from_numpy(y)
        given = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not given:
            return {}
        adam = torch.optim.AdamW(given, lr=use.learning_rate, weight_decay=use.weight_decay)
        best: tuple[float, int, dict[str, Any]] = (np.inf, -1, {})
        last = 0.0
        for epoch in range(use.epochs):
            module.train()
            rows_of = [part for part in torch.randperm(len(x)).split(use.batch_size) if len(part) > 1 or len(x) == 1]
            for rows in rows_of:  # a row alone has no batch statistics
                adam.zero_grad()
                loss = loss_of(module(x[rows]), target[rows])
                loss.backward()
                adam.step()
                last = loss.item()
            if not np.isfinite(last):
                raise diverged(self.own.name, epoch, last, use.learning_rate)
            if val:
                module.eval()
                with torch.no_grad():
                    val_loss = loss_of(module(torch.from_numpy(val[0].copy())), torch.from_numpy(val[1])).item()
                if val_loss < best[0]:
                    best = (val_loss, epoch, copy.deepcopy(module.state_dict()))
        if val and best[1] < 0:
            raise diverged(self.own.name, use.epochs - 1, float("nan"), use.learning_rate)
        if val:
            module.load_state_dict(best[2])
            return {"best_epoch": float(best[1]), "val_loss": best[0], "train_loss": last}
        return {"train_loss": last}

    def say(self, x_nd: np.ndarray) -> np.ndarray:
        import torch

        assert self._scales is not None  # noqa: S101  (its caller's: it is fitted)
        scale_in, scale_out = self._scales
        with self.speaking("predict"), torch.no_grad():
            said = self._module(torch.from_numpy(scale_in.apply(x_nd))).numpy()
        return scale_out.invert(said) if self.says == "predict" else softmax(said)

    def tensors(self) -> dict[str, np.ndarray]:
        assert self._scales is not None  # noqa: S101  (its caller's: it is fitted)
        state = {name: value.float() if value.is_floating_point() else value for name, value in self._state().items()}
        kept = {f"state_{name}": np.ascontiguousarray(value.numpy()) for name, value in state.items()}
        widths = np.array([len(self._scales[0].mean), self._d_out], dtype=np.int64)
        return kept | self._scales[0].tensors("input") | self._scales[1].tensors("output") | {"widths": widths}

    def _state(self) -> dict[str, torch.Tensor]:
        return self._module.state_dict()

    @property
    def _d_out(self) -> int:
        import torch

        assert self._scales is not None  # noqa: S101  (its caller's: it is fitted)
        with torch.no_grad():
            return self._module(torch.zeros((1, len(self._scales[0].mean)), dtype=torch.float64)).shape[1]

    def restore(self, config: Mapping[str, Any], tensors: Tensors) -> None:
        import torch

        name = self.own.name
        if "widths" not in tensors:
            raise InvalidInputError(f"{name}: tensor 'widths' is missing; there are {', '.join(tensors) or 'none'}")
        d_in, d_out = (int(width) for width in tensors["widths"])
        scale_in = Standardiser.from_tensors(tensors, "input", d_in, name)
        scale_out = Standardiser.from_tensors(
            tensors, "output", len(take_tensor(tensors, "output_mean", (None,), name)), name
        )
        state = {key.removeprefix("state_"): value for key, value in tensors.items() if key.startswith("state_")}
        with self.speaking("load"), drawn_from(0):
            module = self.own.build(self.params, d_in, d_out)
            module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
        self._scales, self._module = (scale_in, scale_out), module.double().eval()
