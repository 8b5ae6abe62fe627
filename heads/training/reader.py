"""What a batch reads: resident codes, the rows of each step, and the masks of dropout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from guidestore.heads.training.draws import dropout_uniforms, row_uniforms
from guidestore.heads.training.head import Classes, Head
from guidestore.heads.training.sharing import blocks_of, find_readings, group_numbers, together


class Reader:
    """Codes on the device, kept once for all heads that read them, and one order of rows for each group of heads."""

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype, steady: bool = False) -> None:
        """steady: what an epoch draws is put where the last one's was, for a graph that reads it there."""
        self.device, self.dtype, self._steady = device, dtype, steady
        self.n, d = heads[0].x_nd.shape
        codes, self._readings = find_readings(heads)
        self._x = self.tensor(np.concatenate([x for x, _ in codes]), dtype)
        """(codes * n, d): train rows."""
        val = [x_val for _, x_val in codes if x_val is not None]
        self._all_val = self.tensor(np.stack(val) if val else np.empty((len(codes), 0, d)), dtype)
        """(codes, n_val, d): val rows."""

    def tensor(self, values: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device, dtype)

    def order(self, places: Sequence[int]) -> list[int]:
        """`places` of heads in the order that they must have for `read_for`: sharers side by side."""
        return [places[i] for i in together([self._readings[i] for i in places])]

    def read_for(self, heads: Sequence[Head], places: Sequence[int]) -> None:
        """From now on read for `heads`, which are at `places` of those that it read for before."""
        self._readings = [self._readings[i] for i in places]
        self._places: dict[str, torch.Tensor] = {}
        codes, group_h = [codes for codes, _ in self._readings], group_numbers(self._readings)
        self.blocks, self.val_blocks = blocks_of(group_h), blocks_of(group_numbers(codes))
        self._group_of_head = self.tensor(group_h)
        self.x_val = self._all_val[self.tensor(np.array(list(dict.fromkeys(codes))))]
        """(codes of these heads, n_val, d)."""
        firsts = np.unique(group_h, return_index=True)[1]
        self._first_row_v1 = self.tensor(np.array([[self.n * codes[i]] for i in firsts]))
        # One buffer for the rows of every step: a new one each time costs more in page faults than the copy itself.
        self._buffer = self._x.new_empty((len(firsts) * heads[0].batch_size, self._x.shape[1]))
        self._seeds = list(dict.fromkeys(head.seed for head in heads))
        seed_h = np.array([self._seeds.index(head.seed) for head in heads])
        self._seed_of_head, self._seed_of_group = self.tensor(seed_h), self.tensor(seed_h[firsts])
        self._sampled_vn = self._distributions([heads[i] for i in firsts])
        keep = np.array([[[1.0 - head.dropout]] for head in heads])
        self._keep, self._keep_of_group = self.tensor(keep, self.dtype), self.tensor(keep[firsts], self.dtype)
        self.scale = 1.0 / self._keep if (keep < 1).any() else None
        """(h, 1, 1): what dropout multiplies the kept units by; None without dropout."""

    def _distributions(self, firsts_of_groups: Sequence[Head]) -> torch.Tensor | None:
        """(v, n) float64 cumulated, of the weighted samplers; inf for permutations; None if there are no samplers."""
        cumulated = np.full((len(firsts_of_groups), self.n), np.inf)
        for row, head in zip(cumulated, firsts_of_groups, strict=True):
            if isinstance(head.task, Classes) and head.task.weighted_sampler:
                weights = 1.0 / np.bincount(head.task.labels)[head.task.labels]
                row[:] = np.cumsum(weights) / weights.sum()
        return None if np.isinf(cumulated).all() else self.tensor(cumulated)

    def begin_epoch(self, epoch: int, dropped: Sequence[tuple[int, int]]) -> torch.Tensor:
        """(h, n): each head's rows of `epoch`. dropped: (layer, width) of what dropout applies to; layer 0: codes."""
        drawn = self._drawn(np.stack([row_uniforms(seed, epoch, self.n) for seed in self._seeds]))
        uniforms = drawn.index_select(0, self._seed_of_group)
        rows_vn = torch.argsort(uniforms, dim=1, stable=True)
        if self._sampled_vn is not None:
            sampled = torch.searchsorted(self._sampled_vn, uniforms, right=True).clamp_(max=self.n - 1)
            rows_vn = torch.where(torch.isinf(self._sampled_vn), rows_vn, sampled)
        self._rows_vn = self._put("rows", rows_vn + self._first_row_v1)
        self._uniforms = {}
        for layer, width in dropped if self.scale is not None else ():
            drawn = np.stack([dropout_uniforms(seed, epoch, layer, self.n, width) for seed in self._seeds])
            self._uniforms[layer] = self._put(f"uniforms {layer}", self._drawn(drawn, self.dtype))
        return self._put("rows of heads", rows_vn.index_select(0, self._group_of_head))

    def _put(self, what: str, values: torch.Tensor) -> torch.Tensor:
        if not self._steady:
            return values
        if what in self._places:
            self._places[what].copy_(values)
        else:
            self._places[what] = values.clone()
        return self._places[what]

    def _drawn(self, values: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
        """`values` on the device; a GPU fetches them by itself while the host draws on."""
        if not self.device.startswith("cuda"):
            return self.tensor(values, dtype)
        return torch.from_numpy(values).pin_memory().to(self.device, non_blocking=True).to(dtype)

    def codes(self, rows: slice) -> torch.Tensor:
        """(v, b, d): the epoch's `rows` for each group of heads, until the next call."""
        wanted = self._rows_vn[:, rows].reshape(-1)
        x_vbd = torch.index_select(self._x, 0, wanted, out=self._buffer[: len(wanted)]).unflatten(
            0, (len(self._rows_vn), -1)
        )
        if 0 in self._uniforms:
            x_vbd.mul_(self._mask(0, rows, self._seed_of_group, self._keep_of_group))
        return x_vbd

    def masks(self, rows: slice) -> dict[int, torch.Tensor]:
        """Layer -> (h, b, width): factors of inverted dropout for the epoch's `rows`; {} without dropout."""
        return {i: self._mask(i, rows, self._seed_of_head, self._keep) for i in self._uniforms if i}

    def _mask(self, layer: int, rows: slice, seed_of: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        uniforms = self._uniforms[layer][:, rows]
        if len(self._seeds) > 1:
            uniforms = uniforms.index_select(0, seed_of)
        # 1 where the uniform, a multiple of 2**-16, is at least 1 - keep: always where keep is 1.
        return (uniforms + keep).floor_().mul_(1.0 / keep)
