"""The networks of a batch with their weights stacked, (h, d_out, d_in): forward, backward and SGD of all at once.

Backward is written out: its products land in gradients that stay allocated, and the first layer of heads that read the
same rows is one product of (b, d) with (d, heads * d_1).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch.optim.sgd import sgd

from guidestore.heads.networks import MOMENTUM, Layers
from guidestore.heads.training.draws import initial_layer
from guidestore.heads.training.head import Head
from guidestore.heads.training.sharing import Block


class Stack:
    """Stacked networks of equal widths; narrower outputs are padded with weights that stay 0."""

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        self.widths = (*heads[0].widths[:-1], max(head.d_out for head in heads))
        self.weights: list[torch.Tensor] = []
        """Per layer (h, d_out, d_in)."""
        self.biases: list[torch.Tensor] = []
        """Per layer (h, 1, d_out)."""
        for layer, (d_in, d_out) in enumerate(itertools.pairwise(self.widths)):
            weight = torch.zeros(len(heads), d_out, d_in, dtype=dtype)
            bias = torch.zeros(len(heads), 1, d_out, dtype=dtype)
            for i, head in enumerate(heads):
                own_out = head.widths[layer + 1]
                given = head.start if layer == 0 else None
                first_weight, first_bias = given or initial_layer(head.seed, layer, d_in, own_out)
                weight[i, :own_out], bias[i, 0, :own_out] = torch.from_numpy(first_weight), torch.from_numpy(first_bias)
            self.weights.append(weight.to(device))
            self.biases.append(bias.to(device))
        self.momenta = [torch.zeros_like(p) for p in self._parameters]
        self._set_up(heads)

    @property
    def _parameters(self) -> list[torch.Tensor]:
        return [*self.weights, *self.biases]

    def _set_up(self, heads: Sequence[Head]) -> None:
        """Gradients, and what each call of the fused optimiser gets: runs of heads with one learning rate and decay."""
        self.gradients = [torch.empty_like(p) for p in self._parameters]
        runs: dict[tuple[float, float], list[slice]] = {}
        first = 0
        for rates, run in itertools.groupby(heads, key=lambda head: (head.learning_rate, head.weight_decay)):
            count = len(list(run))
            runs.setdefault(rates, []).append(slice(first, first + count))
            first += count
        self._steps = {
            rates: tuple(
                [tensor[part] for tensor in tensors for part in parts]
                for tensors in (self._parameters, self.gradients, self.momenta)
            )
            for rates, parts in runs.items()
        }

    def keep(self, places: torch.Tensor, heads: Sequence[Head]) -> None:
        """Drop all heads but those at `places`, which then come in that order; `heads` are those."""
        self.weights = [p.index_select(0, places) for p in self.weights]
        self.biases = [p.index_select(0, places) for p in self.biases]
        self.momenta = [p.index_select(0, places) for p in self.momenta]
        self._set_up(heads)

    def forward(
        self, x_vbd: torch.Tensor, blocks: Sequence[Block], masks: Mapping[int, torch.Tensor]
    ) -> list[torch.Tensor]:
        """What each layer gives, hidden ones after ReLU and dropout: (h, b, d_1), …, (h, b, d_L).

        masks: layer, from 1 -> factors of its dropout (h, b, d); hidden layers without one have none.
        """
        pieces = []
        for block in blocks:
            x = x_vbd[block.groups]
            weight = self.weights[0][block.heads].reshape(len(x), -1, x.shape[2])
            pieces.append(_by_head(torch.bmm(x, weight.transpose(1, 2)), block.per_group))
        out = (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).add_(self.biases[0])
        outputs = [out]
        for layer in range(1, len(self.weights)):
            hidden = outputs[-1].relu_()
            if layer in masks:
                hidden.mul_(masks[layer])
            outputs.append(torch.baddbmm(self.biases[layer], hidden, self.weights[layer].transpose(1, 2)))
        return outputs

    def backward(
        self,
        x_vbd: torch.Tensor,
        blocks: Sequence[Block],
        outputs: list[torch.Tensor],
        delta: torch.Tensor,
        scale: torch.Tensor | None,
    ) -> None:
        """Fills the gradients from delta (h, b, d_L), the loss's own; uses up `outputs`.

        scale: (h, 1, 1), what dropout multiplied the kept units by; None without dropout.
        """
        n_layers = len(self.weights)
        for layer in range(n_layers - 1, 0, -1):
            hidden = outputs[layer - 1]
            torch.bmm(delta.transpose(1, 2), hidden, out=self.gradients[layer])
            torch.sum(delta, dim=1, keepdim=True, out=self.gradients[n_layers + layer])
            # A unit that gave 0 was cut off by ReLU or dropped: either way nothing flows back.
            delta = torch.bmm(delta, self.weights[layer]).mul_(hidden.sign_())
            if scale is not None:
                delta.mul_(scale)
        torch.sum(delta, dim=1, keepdim=True, out=self.gradients[n_layers])
        for block in blocks:
            x = x_vbd[block.groups]
            gradient = self.gradients[0][block.heads].view(len(x), -1, x.shape[2])
            torch.bmm(_by_group(delta[block.heads], block.per_group).transpose(1, 2), x, out=gradient)

    def step(self) -> None:
        """SGD with Nesterov momentum and weight decay, fused: the optimiser is bound by memory traffic."""
        for (learning_rate, weight_decay), (parameters, gradients, momenta) in self._steps.items():
            sgd(
                parameters, gradients, [*momenta], fused=True, lr=learning_rate, weight_decay=weight_decay,
                momentum=MOMENTUM, dampening=0.0, nesterov=True, maximize=False,
            )  # fmt: skip

    def copy(self) -> list[torch.Tensor]:
        """The weights and biases of now."""
        return [p.clone() for p in self._parameters]

    def remember(self, best: list[torch.Tensor], places: torch.Tensor) -> None:
        """Writes the weights and biases of the heads at `places` into `best`, which `copy` gave."""
        for kept, now in zip(best, self._parameters, strict=True):
            if len(places) == len(now):
                kept.copy_(now)
            else:
                kept.index_copy_(0, places, now.index_select(0, places))

    def remember_where(self, best: list[torch.Tensor], chosen: torch.Tensor) -> None:
        """The same for the heads of which (h,) bool `chosen` says so, which only the device knows."""
        for kept, now in zip(best, self._parameters, strict=True):
            kept.copy_(torch.where(chosen[:, None, None], now, kept))

    def layers(self, place: int, d_out: int, values: Sequence[torch.Tensor] | None = None) -> Layers:
        """The float32 layers of the head at `place`, of now or of `values` (from `copy`), without the padding."""
        arrays = [p[place].float().cpu().numpy().copy() for p in values or self._parameters]
        layers = list(zip(arrays[: len(self.weights)], (b[0] for b in arrays[len(self.weights) :]), strict=True))
        layers[-1] = (layers[-1][0][:d_out].copy(), layers[-1][1][:d_out].copy())
        return layers


def _by_head(values_vbw: torch.Tensor, per_group: int) -> torch.Tensor:
    """(v, b, per_group * d) -> (v * per_group, b, d)."""
    if per_group == 1:
        return values_vbw
    v, b, width = values_vbw.shape
    d = width // per_group
    return values_vbw.view(v, b, per_group, d).transpose(1, 2).reshape(v * per_group, b, d)


def _by_group(values_hbd: torch.Tensor, per_group: int) -> torch.Tensor:
    """(v * per_group, b, d) -> (v, b, per_group * d), the inverse of `_by_head`."""
    if per_group == 1:
        return values_hbd
    h, b, d = values_hbd.shape
    v = h // per_group
    return values_hbd.view(v, per_group, b, d).transpose(1, 2).reshape(v, b, per_group * d)
