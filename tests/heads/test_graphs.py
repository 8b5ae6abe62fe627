"""An epoch as a graph: what a GPU replays, replayed here operation by operation in the same places of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from guidestore.heads.training import batch
from guidestore.heads.training.batch import _Batch, _train, train_batch
from guidestore.heads.training.head import Classes, Diverged, Head, Trained, Values

SYNCHRONISING = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")


class Recorded(TorchDispatchMode):
    """A stand-in for a CUDA graph: replaying runs the recorded operations on the recorded tensors, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in SYNCHRONISING), f"{func} waits for the device"
        result = func(*args, **(kwargs or {}))
        kept = [value for value in tree_flatten(result)[0] if isinstance(value, torch.Tensor)]
        self.operations.append((func, args, kwargs or {}, kept))
        return result

    def replay(self) -> None:
        for func, args, kwargs, kept in self.operations:
            again = [value for value in tree_flatten(func(*args, **kwargs))[0] if isinstance(value, torch.Tensor)]
            for place, value in zip(kept, again, strict=True):
                if place.data_ptr() != value.data_ptr():
                    place.copy_(value)


def capture(body: Callable[[], None]) -> Callable[[], None]:
    """Records while it runs, then undoes what it did, as a capture runs nothing."""
    owner: _Batch = body.__self__  # pyright: ignore[reportFunctionMemberAccess]
    state = [*owner.stack.weights, *owner.stack.biases, *owner.stack.momenta, *(owner.best or [])]
    state += [value for value in vars(owner.watch).values() if isinstance(value, torch.Tensor)]
    before = [value.clone() for value in state]
    recorded = Recorded()
    with recorded:
        body()
    for value, old in zip(state, before, strict=True):
        value.copy_(old)
    return recorded.replay


def heads_of(kind: str) -> list[Head]:
    rng = np.random.default_rng(0)
    x_nd, y_nd = (rng.normal(size=(50, d)).astype(np.float32) for d in (12, 5))
    labels = np.arange(50) % 3
    heads = []
    for seed, (rate, epochs) in enumerate([(1e-2, 30), (3e-2, 47), (1e-1, 47), (1e9, 30), (3e-3, 60), (2e-2, 30)]):
        task: Classes | Values = Values(y_nd=y_nd, relu_output=False)
        if kind == "classes":
            task = Classes(
                labels=labels, x_val_nd=x_nd[:20] + 0.1, labels_val=labels[:20], class_weights=np.ones(3),
                weighted_sampler=seed % 2 == 0, patience=5, relu_dropout_on_logits=False,
            )  # fmt: skip
        heads.append(
            Head(
                x_nd=x_nd,
                task=task,
                hidden=(8,),
                dropout=0.25,
                learning_rate=rate,
                weight_decay=1e-4,
                epochs=epochs,
                batch_size=20,
                seed=seed % 3,
            )
        )
    return heads


@pytest.mark.parametrize("kind", ["classes", "values"])
@pytest.mark.parametrize("look", [1, 7, 20])
def test_a_replayed_epoch_trains_what_a_plain_one_trains(monkeypatch, kind, look):
    monkeypatch.setattr(batch, "LOOK_EPOCHS", look)
    heads = heads_of(kind)
    plain = train_batch(heads, device="cpu", dtype=torch.float64)
    graphed = _train(_Batch(heads, device="cpu", dtype=torch.float64, capture=capture))
    assert any(isinstance(one, Diverged) for one in plain)
    for one, other in zip(plain, graphed, strict=True):
        assert type(one) is type(other)
        assert one.epoch == other.epoch
        if isinstance(one, Trained) and isinstance(other, Trained):
            assert other.loss == pytest.approx(one.loss, rel=1e-9)
            for mine, theirs in zip(one.layers, other.layers, strict=True):
                for array, again in zip(mine, theirs, strict=True):
                    np.testing.assert_allclose(array, again, rtol=1e-5, atol=1e-7)


def test_the_host_looks_seldom(monkeypatch):
    looks: list[int] = []
    true_seen = batch.Watch.seen
    monkeypatch.setattr(batch.Watch, "seen", lambda self: looks.append(1) or true_seen(self))
    _train(_Batch(heads_of("values"), device="cpu", dtype=torch.float32, capture=capture))
    assert len(looks) <= 6  # of 60 epochs: at 20, 40, 60, and where heads end
