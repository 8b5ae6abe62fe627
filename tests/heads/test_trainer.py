"""The one trainer: a head in a batch is the head alone, and both are plain torch."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.networks import Layers
from guidestore.heads.training import memory, train
from guidestore.heads.training.batch import train_batch
from guidestore.heads.training.draws import dropout_uniforms, initial_layer, row_uniforms
from guidestore.heads.training.head import Classes, Diverged, Head, Trained, Values
from guidestore.heads.training.memory import heads_at_once, in_batches, resident_bytes, step_bytes
from guidestore.heads.training.row_space import RowSpaces

F64 = torch.float64
N, N_VAL, D = 37, 11, 6


def codes(seed: int, n: int = N, d: int = D) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def decoder_head(i: int, **changes: object) -> Head:
    """One of many: rates, dropout, seeds, samplers, numbers of classes and codes all differ."""
    k = 2 + i % 4
    rng = np.random.default_rng(i)
    task = Classes(
        labels=np.concatenate([np.arange(k), rng.integers(0, k, N - k)]), x_val_nd=codes(100 + i % 5, N_VAL),
        labels_val=rng.integers(0, k, N_VAL), class_weights=rng.uniform(0.5, 2.0, k), weighted_sampler=i % 3 == 0,
        patience=1000, relu_dropout_on_logits=False,
    )  # fmt: skip
    head = Head(
        x_nd=codes(i % 5), task=task, hidden=(7,), dropout=(0.0, 0.3, 0.5)[i % 3], learning_rate=(0.1, 0.02)[i % 2],
        weight_decay=(0.0, 0.01)[i % 4 // 2], epochs=5, batch_size=10, seed=i % 7,
    )  # fmt: skip
    in_task = {name: value for name, value in changes.items() if name in Classes.__dataclass_fields__}
    in_head = {name: value for name, value in changes.items() if name not in in_task}
    return dataclasses.replace(head, task=dataclasses.replace(task, **in_task), **in_head)


def guidance_head(i: int, **changes: object) -> Head:
    head = Head(
        x_nd=codes(i % 3), task=Values(y_nd=codes(50 + i % 4, d=4), relu_output=False), hidden=(8, 5),
        dropout=(0.0, 0.25)[i % 2], learning_rate=(0.05, 0.1, 0.2)[i % 3], weight_decay=1e-3, epochs=5, batch_size=10,
        seed=i % 7,
    )  # fmt: skip
    return dataclasses.replace(head, **changes)


def layers_of(result: Trained | Diverged) -> Layers:
    assert isinstance(result, Trained)
    return result.layers


def assert_same(first: Layers, second: Layers, *, rtol: float = 1e-6) -> None:
    """Weights are float32 when they come out, so 1e-6 is their last digit or two."""
    for (weight, bias), (other_weight, other_bias) in zip(first, second, strict=True):
        np.testing.assert_allclose(weight, other_weight, rtol=rtol, atol=1e-7)
        np.testing.assert_allclose(bias, other_bias, rtol=rtol, atol=1e-7)


def train64(heads: list[Head]) -> list[Trained | Diverged]:
    return train.train(heads, dtype=F64, memory_bytes=10**9)


def sequential(head: Head) -> tuple[Layers, list[float]]:
    """torch's own modules, autograd and optimiser, one head, one step at a time; the weights and losses of each epoch.

    Only the random numbers are the trainer's.
    """
    modules = [torch.nn.Linear(d_in, d_out, dtype=F64) for d_in, d_out in itertools.pairwise(head.widths)]
    with torch.no_grad():
        for layer, module in enumerate(modules):
            weight, bias = initial_layer(head.seed, layer, module.in_features, module.out_features)
            module.weight.copy_(torch.from_numpy(weight))
            module.bias.copy_(torch.from_numpy(bias))
    optimiser = torch.optim.SGD(
        [p for module in modules for p in module.parameters()], lr=head.learning_rate, momentum=0.9, nesterov=True,
        weight_decay=head.weight_decay,
    )  # fmt: skip
    x, task, n = torch.from_numpy(head.x_nd).double(), head.task, len(head.x_nd)
    last = len(modules)
    watched, best = [], (np.inf, [])

    def drop(x: torch.Tensor, epoch: int, layer: int, rows: slice) -> torch.Tensor:
        uniforms = torch.from_numpy(dropout_uniforms(head.seed, epoch, layer, n, x.shape[1]))[rows]
        return x * (uniforms >= head.dropout) / (1.0 - head.dropout)

    def forward(x: torch.Tensor, epoch: int, rows: slice | None) -> torch.Tensor:
        if rows and last == 1:
            x = drop(x, epoch, 0, rows)
        for layer, module in enumerate(modules, start=1):
            x = module(x)
            if layer < last or (isinstance(task, Classes) and task.relu_dropout_on_logits):
                x = torch.relu(x)
                x = drop(x, epoch, layer, rows) if rows else x
        return torch.relu(x) if isinstance(task, Values) and task.relu_output else x

    for epoch in range(1, head.epochs + 1):
        uniforms = row_uniforms(head.seed, epoch, n)
        order, loss_sum = np.argsort(uniforms, kind="stable"), 0.0
        if isinstance(task, Classes) and task.weighted_sampler:
            share = 1.0 / np.bincount(task.labels)[task.labels]
            order = np.minimum(np.searchsorted(np.cumsum(share) / share.sum(), uniforms, side="right"), n - 1)
        for first in range(0, n, head.batch_size):
            rows = slice(first, min(first + head.batch_size, n))
            out, chosen = forward(x[order[rows]], epoch, rows), order[rows]
            if isinstance(task, Classes):
                weights = torch.from_numpy(np.asarray(task.class_weights, dtype=np.float64))
                loss = torch.nn.functional.cross_entropy(out, torch.from_numpy(task.labels[chosen]), weight=weights)
            else:
                loss = torch.nn.functional.mse_loss(out, torch.from_numpy(task.y_nd[chosen]).double())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += loss.item() * len(chosen) / n
        layers = [(m.weight.detach().numpy().copy(), m.bias.detach().numpy().copy()) for m in modules]
        watched.append(loss_sum)
        if isinstance(task, Classes):
            with torch.no_grad():
                out = forward(torch.from_numpy(task.x_val_nd).double(), epoch, None)
                weights = torch.from_numpy(np.asarray(task.class_weights, dtype=np.float64))
                loss = torch.nn.functional.cross_entropy(out, torch.from_numpy(task.labels_val), weight=weights)
            watched[-1] = loss.item()
        if isinstance(task, Values) or watched[-1] < best[0]:
            best = (watched[-1], layers)
    return best[1], watched


@pytest.mark.parametrize("make", [decoder_head, guidance_head])
def test_a_head_in_a_batch_of_64_is_the_head_alone(make):
    """float64, 5 epochs of 4 steps: the first 20."""
    heads = [make(i) for i in range(64)]
    together = train64(heads)
    for i in range(0, 64, 7):
        alone = train64([heads[i]])[0]
        assert_same(layers_of(together[i]), layers_of(alone))
        assert isinstance(alone, Trained)
        assert together[i].epoch == alone.epoch
        assert together[i].loss == pytest.approx(alone.loss, rel=1e-12)


@pytest.mark.parametrize(
    "head",
    [
        *(decoder_head(i) for i in range(6)),
        decoder_head(1, relu_dropout_on_logits=True),
        decoder_head(2, relu_dropout_on_logits=True),
        decoder_head(1, hidden=()),
        decoder_head(3, hidden=(), dropout=0.25),
        decoder_head(1, hidden=(5, 4, 3)),
        *(guidance_head(i) for i in range(3)),
        guidance_head(1, task=Values(y_nd=np.abs(codes(60, d=4)), relu_output=True)),
    ],
    ids=lambda head: f"{head.widths}",
)
def test_training_is_that_of_plain_torch(head):
    layers, watched = sequential(head)
    trained = train64([head])[0]
    assert_same(layers_of(trained), layers)
    assert trained.loss == pytest.approx(watched[trained.epoch - 1], rel=1e-12)


@pytest.mark.parametrize("hidden", [(7,), ()])
def test_heads_that_share_codes_learn_what_they_learn_apart(hidden, monkeypatch):
    """Eight targets on one array: one product for all, whether it is the same object or only the same data."""
    x_nd, x_val_nd = codes(1), codes(2, N_VAL)
    heads = [
        decoder_head(i, x_nd=x_nd, x_val_nd=x_val_nd, seed=3, hidden=hidden, dropout=0.25, weighted_sampler=i == 5)
        for i in range(8)
    ]
    copies = [dataclasses.replace(head, x_nd=x_nd.copy()) for head in heads]
    shared, by_data = train64(heads), train64(copies)
    monkeypatch.setattr("guidestore.heads.training.sharing.Arrays.number", unshared)
    apart = train64(copies)
    for i in range(8):
        assert_same(layers_of(shared[i]), layers_of(apart[i]))
        assert_same(layers_of(shared[i]), layers_of(by_data[i]), rtol=0)


def unshared(arrays, array):
    """In place of `Arrays.number`: no two arrays are equal."""
    arrays.distinct.append(array)
    return len(arrays.distinct) - 1


def test_the_first_layer_of_sharers_is_one_product(monkeypatch):
    sizes = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b, **out: sizes.append((a.shape, b.shape)) or bmm(a, b, **out))
    heads = [decoder_head(i, x_nd=codes(1), x_val_nd=codes(2, N_VAL), seed=3, weighted_sampler=False) for i in range(8)]
    train64([dataclasses.replace(head, epochs=1) for head in heads])
    assert sizes[0] == ((1, 10, D), (1, D, 8 * 7))


def test_a_diverging_head_leaves_the_others_unharmed():
    heads = [decoder_head(i, epochs=20) for i in range(12)]
    wild = [dataclasses.replace(head, learning_rate=1e30) if i in (3, 8) else head for i, head in enumerate(heads)]
    calm, results = train64(heads), train64(wild)
    for i in range(12):
        if i in (3, 8):
            assert isinstance(results[i], Diverged)
            assert not np.isfinite(results[i].loss)
            assert results[i].epoch < 20
        else:
            assert_same(layers_of(results[i]), layers_of(calm[i]))


def test_each_head_stops_for_itself():
    """Labels of val that contradict train stop a head early; its best epoch is restored and the rest train on."""
    heads = [decoder_head(i, epochs=40, patience=4 + i % 3, learning_rate=0.1) for i in range(10)]
    heads += [dataclasses.replace(head, epochs=6) for head in heads[:2]]
    results = train64(heads)
    for head, result in zip(heads, results, strict=True):
        watched = sequential(head)[1]
        assert isinstance(head.task, Classes)
        best = 0
        for epoch, loss in enumerate(watched):
            if loss < watched[best]:
                best = epoch
            elif epoch - best >= head.task.patience:
                break
        assert isinstance(result, Trained)
        assert (result.epoch, result.loss) == (best + 1, pytest.approx(watched[best], rel=1e-10))
    assert len({result.epoch for result in results if isinstance(result, Trained)}) > 4


def test_float32_stays_close_to_float64():
    heads = [decoder_head(i) for i in range(6)] + [guidance_head(i) for i in range(3)]
    for single, double in zip(train.train(heads), train64(heads), strict=True):
        assert_same(layers_of(single), layers_of(double), rtol=1e-3)


def test_the_released_notebooks_loop_is_as_good_within_noise():
    """Their DataLoader, module and own randomness: the same accuracy on fresh rows, on average over seeds."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 10))
    labels, labels_test = np.arange(120) % 3, np.arange(600) % 3
    x_nd, x_test_nd = (
        (centres[y] + 1.5 * rng.normal(size=(len(y), 10))).astype(np.float32) for y in (labels, labels_test)
    )
    task = Classes(
        labels=labels, x_val_nd=x_test_nd[:60], labels_val=labels_test[:60], class_weights=np.ones(3),
        weighted_sampler=False, patience=100, relu_dropout_on_logits=False,
    )  # fmt: skip
    heads = [
        Head(
            x_nd=x_nd, task=task, hidden=(16,), dropout=0.3, learning_rate=0.02, weight_decay=1e-6, epochs=15,
            batch_size=20, seed=seed,
        )
        for seed in range(8)
    ]  # fmt: skip

    def accuracy(layers: Layers) -> float:
        (w0, b0), (w1, b1) = layers
        logits = np.maximum(x_test_nd @ w0.T + b0, 0) @ w1.T + b1
        return float((logits.argmax(axis=1) == labels_test).mean())

    ours = [accuracy(layers_of(result)) for result in train.train(heads)]
    theirs = [accuracy(notebook_loop(task, x_nd, seed)) for seed in range(8)]
    spread = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(8)
    assert abs(np.mean(ours) - np.mean(theirs)) < 3 * spread + 0.005
    assert np.mean(ours) > 0.6


def notebook_loop(task: Classes, x_nd: np.ndarray, seed: int) -> Layers:
    from torch.utils.data import DataLoader, TensorDataset

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Linear(10, 16), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(16, 3)
        )
        optimiser = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-6)
        rows = TensorDataset(torch.from_numpy(x_nd), torch.from_numpy(task.labels))
        x_val, y_val = torch.from_numpy(task.x_val_nd), torch.from_numpy(task.labels_val)
        best, layers = np.inf, []
        for _ in range(15):
            network.train()
            for x, y in DataLoader(rows, batch_size=20, shuffle=True):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(network(x), y).backward()
                optimiser.step()
            network.eval()
            with torch.no_grad():
                loss = torch.nn.functional.cross_entropy(network(x_val), y_val).item()
            if loss < best:
                arrays = [p.detach().numpy().copy() for p in network.parameters()]
                best, layers = loss, list(zip(arrays[::2], arrays[1::2], strict=True))
    return layers


def test_out_of_memory_halves_the_batch_and_goes_on():
    heads = [decoder_head(i) for i in range(11)]
    sizes = []

    def limited(part):
        sizes.append(len(part))
        if len(part) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return train_batch(part, device="cpu", dtype=F64)

    together = in_batches(heads[:8], 8, limited)
    assert sizes == [8, 4, 2, 2, 2, 2]
    for i, result in enumerate(together):
        assert_same(layers_of(result), layers_of(train64([heads[i]])[0]))


def test_one_head_beyond_the_memory_is_an_error_and_other_errors_pass():
    def no_memory(part):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: can't allocate memory")

    def broken(part):
        raise RuntimeError("an illegal memory access was encountered")

    with pytest.raises(InvalidInputError, match="one network of widths 6-7-2 on 37 rows does not fit"):
        in_batches([decoder_head(0)], 4, no_memory)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        in_batches([decoder_head(0)], 4, broken)


def test_memory_plans_how_many_heads_fit(monkeypatch):
    head = decoder_head(0)
    each = step_bytes(head, torch.float32)
    assert each == 4 * (3 * (7 * 7 + 8 * 2) + 10 * (6 + 7 + 2))
    assert heads_at_once(head, device="cpu", dtype=torch.float32, memory_bytes=5 * each + 1) == 5
    assert heads_at_once(head, device="cpu", dtype=F64, memory_bytes=5 * each + 1) == 2
    assert heads_at_once(head, device="cpu", dtype=F64, memory_bytes=1) == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * resident_bytes(head, F64), 0))
    assert heads_at_once(head, device="cuda", dtype=F64) == int(10 * memory.GPU_SHARE)


def test_batches_of_any_size_give_the_same(monkeypatch):
    heads = [*(decoder_head(i, seed=i % 2) for i in range(9)), *(guidance_head(i) for i in range(4))]
    for few, many in zip(train.train(heads, dtype=F64, memory_bytes=20_000), train64(heads), strict=True):
        assert_same(layers_of(few), layers_of(many))


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InvalidInputError, match="device 'tpu' is not there; train on 'cpu'"):
        train.train([decoder_head(0)], device="tpu")


def test_draws_are_keyed_and_uniform():
    drawn = dropout_uniforms(3, 5, 1, 101, 33)
    assert drawn.shape == (101, 33)
    assert np.array_equal(drawn, dropout_uniforms(3, 5, 1, 101, 33))
    others = [dropout_uniforms(*key, 101, 33) for key in ((4, 5, 1), (3, 6, 1), (3, 5, 2), (2**63 - 1, 5, 1))]
    assert all(abs(np.corrcoef(drawn.ravel(), other.ravel())[0, 1]) < 0.06 for other in others)
    assert 0.0 <= drawn.min() < drawn.max() < 1.0
    assert abs((drawn >= 0.3).mean() - 0.7) < 0.03
    weight, bias = initial_layer(3, 0, 16, 400)
    assert (weight.shape, bias.shape) == ((400, 16), (400,))
    assert 0.24 < np.abs(weight).max() <= 0.25
    assert abs(weight.std() - 0.25 / 3**0.5) < 0.005


WIDE = 90
"""Dimensions, of more than N + N_VAL = 48 rows."""


@pytest.mark.parametrize("i", range(6))
def test_wide_codes_are_trained_in_the_span_of_their_rows_to_the_same_weights(i: int):
    """Rates, decay, dropout, samplers and classes as they come; against plain torch on the codes themselves."""
    decoder = decoder_head(i, x_nd=codes(i, d=WIDE), x_val_nd=codes(100 + i, N_VAL, WIDE), weight_decay=0.05)
    guidance = guidance_head(i, x_nd=codes(i, d=WIDE), weight_decay=0.05)
    for head in (decoder, guidance):
        entered = RowSpaces().enter(head)
        assert entered.x_nd.shape[1] == N + (N_VAL if head is decoder else 0)
        (result,) = train64([head])
        layers, losses = sequential(head)
        assert layers_of(result)[0][0].shape == (head.hidden[0], WIDE)
        assert_same(layers_of(result), layers, rtol=1e-5)
        assert result.loss == pytest.approx(losses[result.epoch - 1], rel=1e-9)  # pyright: ignore[reportAttributeAccessIssue]


def test_codes_stay_as_they_are_where_their_span_is_no_smaller_or_dropout_is_on_them():
    linear = decoder_head(1, x_nd=codes(0, d=WIDE), x_val_nd=codes(1, N_VAL, WIDE), hidden=())
    assert linear.dropout > 0
    for head in (decoder_head(0), guidance_head(0), linear):
        assert RowSpaces().enter(head) is head
    assert RowSpaces().enter(dataclasses.replace(linear, dropout=0.0)).x_nd.shape == (N, N + N_VAL)


def test_heads_on_the_same_wide_codes_still_share_them():
    spaces = RowSpaces()
    x_nd, x_val_nd = codes(0, d=WIDE), codes(1, N_VAL, WIDE)
    entered = [spaces.enter(decoder_head(i, x_nd=x_nd.copy(), x_val_nd=x_val_nd, seed=3)) for i in range(3)]
    assert len({id(head.x_nd) for head in entered}) == 1
    assert len({id(head.start[0]) for head in entered if head.start}) == 1
