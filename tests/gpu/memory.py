"""Out of memory on purpose: a batch of heads, and a batch of tiles, halve and go on to the same results."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from guidestore.encoders.registry import build_encoder
from guidestore.encoders.timm_patch import TimmPatchEncoder
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.registry import build_decoder
from guidestore.heads.training import train
from tests.gpu.making import random_weights, tiles
from tests.gpu.report import Report, away


def run(report: Report) -> None:
    heads(report)
    encoder(report)


def heads(report: Report) -> None:
    count, d, epochs = (12, 32, 3) if report.small else (3000, 1024, 5)
    rng, labels = np.random.default_rng(0), np.arange(165) % 3
    x_nd = rng.normal(size=(4 * 165, d)).astype(np.float32)
    labels = np.tile(labels, 4)
    problems = [
        DecoderProblem(
            build_decoder("mlp", hidden_units=256, epochs=epochs, learning_rate=1e-3),
            x_nd, labels, x_nd[:28], labels[:28], 3, seed,
        )
        for seed in range(count)
    ]  # fmt: skip
    wanted = fit_decoders(problems[-1:], device=report.device)
    sizes: list[int] = []
    true_batch = train.train_batch

    def counted(part, **options):
        sizes.append(len(part))
        if not report.is_gpu and len(part) > 4:  # no card whose memory could end
            raise torch.OutOfMemoryError("CUDA out of memory")
        return true_batch(part, **options)

    if report.is_gpu:
        torch.cuda.set_per_process_memory_fraction(0.05, report.device)
    try:
        with (
            mock.patch.object(train, "train_batch", counted),
            mock.patch.object(train, "heads_at_once", return_value=count),
        ):
            fitted = fit_decoders(problems, device=report.device)
    finally:
        if report.is_gpu:
            torch.cuda.set_per_process_memory_fraction(1.0, report.device)
    report.must("a batch of heads was halved", sizes[0] == count and len(sizes) > 2, f"{sizes[0]} -> {min(sizes)}")
    one, alone = fitted[-1], wanted[0]
    assert not isinstance(one, Exception)
    assert not isinstance(alone, Exception)
    d_ = away(one.predict_proba(x_nd), alone.predict_proba(x_nd))
    report.must("   and the last head is what it is alone", d_ <= 1e-3, f"{d_:.1e}")


def encoder(report: Report) -> None:
    name, count = ("test_resnet", 12) if report.small else ("uni", 4096)
    with tempfile.TemporaryDirectory() as folder:
        made = build_encoder(name, weights=random_weights(name, Path(folder)), device=report.device)
    assert isinstance(made, TimmPatchEncoder)
    batch = tiles(count, 64 if report.small else 224)
    few = made.encode(batch[:4])
    made._forward_tiles = count
    true_forward = made._forward

    def short(tiles_bhwc: torch.Tensor) -> torch.Tensor:
        if not report.is_gpu and len(tiles_bhwc) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return true_forward(tiles_bhwc)

    if report.is_gpu:
        torch.cuda.set_per_process_memory_fraction(0.05, report.device)
    try:
        with mock.patch.object(made, "_forward", short):
            codes = made.encode(batch)
    finally:
        if report.is_gpu:
            torch.cuda.set_per_process_memory_fraction(1.0, report.device)
    halved = made._forward_tiles
    report.must("a batch of tiles was halved", halved < count, f"{count} -> {halved} at a time")
    report.must("   and its codes are the same", (d := away(codes[:4], few)) <= 1e-3, f"{d:.1e}")
