"""Heads per second of the batched trainer against a DataLoader loop like the released notebooks'.

A head is one D_c; each distinct G is trained once and its time shared, in both. The loop is timed on one G and one
D_c per kind and scaled up; both run a share of the paper's epochs, without early stopping, and are scaled up to all.
Use one thread: OMP_NUM_THREADS=1. Run: python tests/benchmarks/trainer.py [--epochs-share 0.1] [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from guidestore.heads.fitting import fit_decoders, fit_guidance
from guidestore.heads.protocol import DecoderProblem, GuidanceProblem
from guidestore.heads.registry import build_decoder, build_guidance, decoder_presets
from tests.benchmarks.measuring import show


@dataclass(frozen=True)
class Kind:
    """A shape of problems. Targets share their codes, and so do the decoders of one G."""

    name: str
    rows: tuple[int, int]
    d_inferior: int
    d_superior: int
    guidance: str
    decoder: str
    targets: tuple[str, ...]
    learning_rates: tuple[float, ...]
    """Variants of D_c on one G, for each target."""
    n_guidance: int
    """Distinct G: other codes each, as of other folds."""


KINDS = (
    Kind("RadPath: 4 G, each with 8 D_c", (165, 28), 1024, 512, "radpath-paper", "radpath-paper", ("kind",),
         (3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3), 4),
    Kind("Derm7pt: 1 G, D_c of 8 tasks", (413, 203), 2048, 2048, "derm7pt-paper", "derm7pt-paper",
         tuple(decoder_presets()["derm7pt-paper"].by_target), (1e-4,), 1),
)  # fmt: skip


class Rows(Dataset[dict[str, Any]]):
    """As the notebooks have it: a row is a dict of numpy arrays."""

    def __init__(self, x_nd: np.ndarray, y: np.ndarray) -> None:
        self.x_nd, self.y = x_nd, y

    def __len__(self) -> int:
        return len(self.x_nd)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"input": self.x_nd[i], "wanted": self.y[i]}


def notebook_loop(
    config: dict[str, Any], train: Rows, val: Rows | None, widths: tuple[int, ...], device: str
) -> torch.nn.Module:
    """The released training loop. Val is evaluated for D_c alone; the best weights stay in memory, not on disk."""
    modules: list[torch.nn.Module] = []
    for d_in, d_out in itertools.pairwise(widths):
        modules += [torch.nn.Linear(d_in, d_out), torch.nn.ReLU(), torch.nn.Dropout(config["dropout"])]
    network = torch.nn.Sequential(*modules[: -1 if val is None else -2]).to(device)
    optimiser = torch.optim.SGD(
        network.parameters(), lr=config["learning_rate"], momentum=0.9, nesterov=True,
        weight_decay=config["weight_decay"],
    )  # fmt: skip
    criterion: torch.nn.Module = torch.nn.MSELoss()
    sampler = None
    if val is not None:
        criterion = torch.nn.CrossEntropyLoss(weight=torch.tensor(config["class_weights"]).to(device))
        if config["weighted_sampler"]:
            weights = torch.from_numpy(1.0 / np.bincount(train.y)[train.y])
            sampler = WeightedRandomSampler(weights, len(train), replacement=True)  # pyright: ignore[reportArgumentType]
    train_rows = DataLoader(train, batch_size=config["batch_size"], sampler=sampler, shuffle=sampler is None)
    val_rows = [] if val is None else DataLoader(val, batch_size=30)
    best, kept = np.inf, None
    for _ in range(config["epochs"]):
        network.train()
        running = 0.0
        for row in train_rows:
            optimiser.zero_grad()
            loss = criterion(network(row["input"].to(device)), row["wanted"].to(device))
            loss.backward()
            optimiser.step()
            running += loss.item()
        network.eval()
        running = 0.0
        with torch.no_grad():
            for row in val_rows:
                running += criterion(network(row["input"].to(device)), row["wanted"].to(device)).item()
        if val is not None and running < best:
            best, kept = running, copy.deepcopy(network.state_dict())
    if kept is not None:
        network.load_state_dict(kept)
    return network


def measure(kind: Kind, share: float, device: str) -> list[list[str]]:
    rng = np.random.default_rng(0)
    n, n_val = kind.rows

    def codes(rows: int, d: int) -> np.ndarray:
        """Non-negative and sparse, as behind a ReLU."""
        return np.maximum(0.3 * rng.standard_normal((rows, d), np.float32), 0)

    models, problems = [], []
    for seed in range(kind.n_guidance):
        epochs = max(1, round(build_guidance(kind.guidance).config["epochs"] * share))
        model = build_guidance(kind.guidance, epochs=epochs)
        models.append(GuidanceProblem(model, codes(n, kind.d_inferior), codes(n, kind.d_superior), seed))
    for seed in range(kind.n_guidance):
        x_nd, x_val_nd = (codes(rows, kind.d_superior + kind.d_inferior) for rows in kind.rows)
        for target, rate in itertools.product(kind.targets, kind.learning_rates):
            config = build_decoder(kind.decoder, target=target).config
            k, epochs = len(config["class_weights"]), max(1, round(config["epochs"] * share))
            decoder = build_decoder(kind.decoder, target=target, learning_rate=rate, epochs=epochs, patience=epochs)
            problems.append(DecoderProblem(decoder, x_nd, np.arange(n) % k, x_val_nd, np.arange(n_val) % k, k, seed))

    def loop_g() -> None:
        p = models[0]
        config, shape = p.model.config, (p.z_inferior_nd.shape[1], *p.model.config["hidden"], p.z_superior_nd.shape[1])
        notebook_loop(config, Rows(p.z_inferior_nd, p.z_superior_nd), None, shape, device)

    def loop_d() -> None:
        p = problems[0]
        widths = (p.x_nd.shape[1], p.decoder.config["hidden_units"], p.n_classes)
        train, val = Rows(p.x_nd, p.labels), Rows(p.x_val_nd, p.labels_val)
        notebook_loop(p.decoder.config, train, val, widths, device)

    def all_fitted(results: list[Any]) -> None:
        assert not any(isinstance(result, Exception) for result in results)

    loop_d()  # torch imports half of itself at the first optimiser
    loop = (seconds(loop_g, device) * len(models), seconds(loop_d, device) * len(problems))
    ours = (
        seconds(lambda: all_fitted(fit_guidance(models, device=device)), device),
        seconds(lambda: all_fitted(fit_decoders(problems, device=device)), device),
    )
    rows = []
    for name, (g, d) in (("DataLoader loop", loop), ("batched", ours)):
        per_g, per_d = g / len(models) / share, d / len(problems) / share
        heads_s, ratio = len(problems) * share / (g + d), sum(loop) / (g + d)
        rows.append([f"{kind.name}, {name}", f"{per_g:.2f}", f"{per_d:.2f}", f"{heads_s:.3f}", f"{ratio:.1f} x"])
    return rows


def seconds(action: Any, device: str) -> float:
    """Of the clock on a GPU; of the process on a CPU, because other processes stretch the clock's."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    action()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs-share", type=float, default=0.1)
    parser.add_argument("--device", default="cpu")
    use = parser.parse_args()
    rows = [row for kind in KINDS for row in measure(kind, use.epochs_share, use.device)]
    clock = "CPU seconds" if use.device == "cpu" else "seconds"
    title = f"Training at the paper's epochs, {use.device}, {torch.get_num_threads()} threads, {clock}"
    show(title, ("", "s per G", "s per D_c", "heads/s", "ratio"), rows)


if __name__ == "__main__":
    main()
