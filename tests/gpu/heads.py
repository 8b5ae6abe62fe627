"""Batched heads: the 480-head sweep as the whole command, 10,000 heads, both against a DataLoader loop on the card.

The floor of the 480-head sweep (tests/benchmarks/sweep.py): 60 G and 720 decoders on 165 + 28 rows, 4 steps an epoch.
In the span of its rows a decoder is 193-h-3, h of 25 to 200: 18,500 weights on average, 0.67 MB a step by `step_bytes`,
1.0 TB in 500 epochs of 720. A G is 165-256-256-512 or 165-512-256-256-512: 327,000 weights, 10.5 MB a step, 0.4 TB in
150 epochs of 60. Together 1.4 TB, and 10 TFLOP in float32: at 3 TB/s and 50 TFLOP/s 0.5 s for the bytes, which decide,
and 0.2 s for the products. Heads that stop early take less.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.sweeps import run as sweeps
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.registry import build_decoder
from tests.benchmarks.sweep import AUTOENCODERS, D_I, D_S, DECODERS, PARTS, SEEDS, make_store, the_sweep
from tests.gpu.report import Report

EPOCHS_G, EPOCHS_D, PATIENCE, STEP_ROWS = 150, 500, 200, 50
FLOOR_BAR, COMMAND_BAR, MANY_BAR = 3.0, 100.0, 250.0


def step_bytes(d: int, width: int, k: int = 3, rows: int = STEP_ROWS) -> float:
    """What one step of one head must move at least, float32: each of 8 touches of its weights, and its rows.

    SGD with momentum: weights r (forward), r (backward), r and w (update); gradients w, r; momenta r, w. Heads that
    read the same rows could share their reading; here each counts its own.
    """
    weights = (d + 1) * width + (width + 1) * k
    return 4.0 * (8 * weights + rows * (d + 2 * width + 2 * k))


def step_flop(d: int, width: int, k: int = 3, rows: int = STEP_ROWS) -> float:
    """Forward, and backward to the weights; to the inputs of the last layer alone."""
    return 2.0 * rows * (2 * d * width + 3 * width * k)


def run(report: Report) -> None:
    folds = 1 if report.small else 5
    loop_g, loop_d = loop(report)
    if not report.small:
        command(report, folds, loop_g, loop_d)
    many(report, 16 if report.small else 10_000, loop_d)


def loop(report: Report) -> tuple[float, float]:
    """Seconds of one G and of one D_c, the mean of 8, in the notebooks' loop."""
    epochs = (3, 3) if report.small else (15, 50)
    rng, n = np.random.default_rng(1), PARTS["train"]
    z_i, z_s = (torch.from_numpy(rng.random((n, d), dtype=np.float32)) for d in (D_I, D_S))
    x, y = torch.cat([z_s, z_i], dim=1), torch.from_numpy(rng.integers(0, 3, n))
    _fit(report, z_i, z_s, (D_I, 512, D_S), 1, torch.nn.functional.mse_loss)  # first calls
    g = _fit(report, z_i, z_s, (D_I, 512, 256, 256, D_S), epochs[0], torch.nn.functional.mse_loss)
    d = np.mean([
        _fit(report, x, y, (D_S + D_I, 50, 3), epochs[1], torch.nn.functional.cross_entropy) for _ in range(8)
    ])  # fmt: skip
    # Timed without patience, like the batched heads: a share of the epochs, scaled up.
    whole = g * EPOCHS_G / epochs[0], float(d) * EPOCHS_D / epochs[1]
    report.say("DataLoader loop: a G, a D_c", f"{whole[0]:.2f} s, {whole[1]:.2f} s")
    return whole


def _fit(report: Report, x: torch.Tensor, y: torch.Tensor, widths, epochs: int, loss_of) -> float:
    layers: list[torch.nn.Module] = []
    for d_in, d_out in itertools.pairwise(widths):
        layers += [torch.nn.Linear(d_in, d_out), torch.nn.ReLU(), torch.nn.Dropout(0.25)]
    network = torch.nn.Sequential(*layers[:-2]).to(report.device)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-6)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=STEP_ROWS, shuffle=True)
    report.wait()
    start = time.perf_counter()
    for _ in range(epochs):
        network.train()
        for x_b, y_b in loader:
            optimiser.zero_grad()
            loss = loss_of(network(x_b.to(report.device)), y_b.to(report.device))
            loss.backward()
            optimiser.step()
            loss.item()
        network.eval()
        with torch.no_grad():
            loss_of(network(x[:28].to(report.device)), y[:28].to(report.device)).item()
    return time.perf_counter() - start


def command(report: Report, folds: int, loop_g: float, loop_d: float) -> None:
    """All of `guidestore sweep run`: planning, training, metrics and commits."""
    from guidestore.heads.rows import decoders, guidance

    spent, fit_g, fit_d = [0.0], guidance.fit_guidance, decoders.fit_decoders

    def timed(fit):
        def fitted(problems, **options):
            start = time.perf_counter()
            result = fit(problems, **options)
            spent[0] += time.perf_counter() - start
            return result

        return fitted

    guidance.fit_guidance, decoders.fit_decoders = timed(fit_g), timed(fit_d)
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder) / "store", folds)
        start = time.perf_counter()
        done = sweeps.run_sweep(EmbeddingStore.open(Path(folder) / "store"), the_sweep(folds), device=report.device)
        whole = time.perf_counter() - start
    n_g = folds * len(SEEDS) * len(AUTOENCODERS)
    n_d = folds * len(SEEDS) * len(DECODERS) * (3 + len(AUTOENCODERS))
    times = (n_g * loop_g + n_d * loop_d) / whole
    report.say(f"sweep of {folds * 96} G(I)+I heads, {done.trained} runs", f"{whole:.1f} s, {n_d / whole:.0f} heads/s")
    report.say("   of it in fits (two batches overlap)", f"{spent[0]:.1f} s")
    report.check("   against the loop", times >= COMMAND_BAR, f"{times:.0f} x (bar {COMMAND_BAR:.0f})")


def many(report: Report, count: int, loop_d: float) -> None:
    """Training alone. Codes of 193 dimensions, what 165 + 28 rows of any width become (heads/training/row_space.py)."""
    rng, d, n = np.random.default_rng(0), 193, PARTS["train"]
    epochs = 4 if report.small else EPOCHS_D
    labels = np.arange(n) % 3
    x_nd = rng.normal(size=(n, d)).astype(np.float32) + 0.2 * labels[:, None]
    x_val, y_val = x_nd[: PARTS["val"]] + 0.1, labels[: PARTS["val"]]
    problems = [
        DecoderProblem(
            build_decoder("mlp", hidden_units=50, epochs=epochs, patience=epochs, learning_rate=float(rate)),
            x_nd, labels, x_val, y_val, 3, seed,
        )
        for seed, rate in enumerate(np.geomspace(1e-4, 1e-2, count))
    ]  # fmt: skip
    fit_decoders(problems[:4], device=report.device)
    report.wait()
    start = time.perf_counter()
    fitted = fit_decoders(problems, device=report.device)
    seconds = time.perf_counter() - start
    report.must("every head is trained", not any(isinstance(f, Exception) for f in fitted), f"{count} heads")
    steps = count * epochs * -(-n // STEP_ROWS)
    ratio = report.over_floor(
        f"{count} heads, {epochs} epochs, training alone", seconds,
        flop=steps * step_flop(d, 50), moved=steps * step_bytes(d, 50),
    )  # fmt: skip
    report.say("", f"{count / seconds:.0f} heads/s, {steps * step_bytes(d, 50) / seconds / 1e12:.2f} TB/s")
    report.check("   of the floor", ratio <= FLOOR_BAR, f"{ratio:.1f} x (bar {FLOOR_BAR:.0f})")
    times = count * loop_d * epochs / EPOCHS_D / seconds
    report.check("   against the loop", times >= MANY_BAR, f"{times:.0f} x (bar {MANY_BAR:.0f})")
