"""Codes, a training step and batched heads on the device against the CPU in float32."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guidestore.embeddings.types import Bag
from guidestore.encoders.arithmetic import Arithmetic
from guidestore.encoders.registry import build_encoder, encoder_class, preset_of
from guidestore.encoders.weights import tensors_of
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.registry import build_decoder
from tests.gpu.making import random_weights, tiles
from tests.gpu.report import Report, away

FLOAT32, BFLOAT16 = 1e-3, 1e-2
"""Largest relative distances."""


def run(report: Report) -> None:
    heads(report)
    trained(report)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("test_resnet",) if report.small else ("resnet50_trunc", "uni"):
            frozen(report, name, Path(folder))


def _checked(report: Report, what: str, precision: str, got: np.ndarray, wanted: np.ndarray) -> None:
    bar = BFLOAT16 if precision == "bfloat16" else FLOAT32
    report.must(f"{what}, {precision}", (d := away(got, wanted)) <= bar, f"{d:.1e} (bar {bar:g})")


def frozen(report: Report, name: str, folder: Path) -> None:
    weights, batch = random_weights(name, folder), tiles(4 if report.small else 16, 224)
    wanted = build_encoder(name, weights=weights).encode(batch)
    for precision in ("float32", "tf32", "bfloat16"):
        preprocessing = Arithmetic(precision).as_dict()
        encoder = build_encoder(name, weights=weights, device=report.device, preprocessing=preprocessing)
        got = encoder.encode(batch)
        if precision == "tf32":
            report.say(f"{name}, tf32 is away from float32 by", f"{away(got, wanted):.1e}")
        else:
            _checked(report, f"codes of {name}", precision, got, wanted)


def _data(name: str, small: bool) -> tuple[Any, int]:
    """Four items, and the width of the input."""
    rng = np.random.default_rng(0)
    if name == "densenet3d":
        side = 24 if small else 64
        return rng.normal(size=(4, 4, side, side, side)).astype(np.float32), 4
    if name == "inception_multitask":
        return tiles(4, 80 if small else 299), 3
    return [Bag(rng.normal(size=(n, 64)).astype(np.float16), None) for n in (90, 60, 120, 75)], 64


def trained(report: Report) -> None:
    """Codes, and one step: the loss and all gradients, without dropout, which each device draws for itself."""
    for name in ("clam_sb", "densenet3d", *(() if report.small else ("inception_multitask",))):
        data, width = _data(name, report.small)
        module = preset_of(name, "demo" if report.small else "paper").build(width, 2)
        module.reset(data, torch.Generator().manual_seed(0))
        config, tensors = module.config, tensors_of(module)
        codes, steps = {}, {}
        for device, precision in (("cpu", "float32"), (report.device, "float32"), (report.device, "bfloat16")):
            arithmetic = Arithmetic(precision)  # pyright: ignore[reportArgumentType]
            encoder = encoder_class(name)(
                config=config, tensors=tensors, device=device, preprocessing=arithmetic.as_dict()
            )
            codes[device, precision] = encoder.encode(data)
            steps[device, precision] = _gradient(encoder.module, data, device, arithmetic)
            if device == report.device == "cpu":
                break
        for place in [key for key in codes if key != ("cpu", "float32")]:
            _checked(report, f"codes of {name}", place[1], codes[place], codes["cpu", "float32"])
            if place[1] == "float32":
                _checked(report, f"a step of {name}", place[1], steps[place], steps["cpu", "float32"])
            else:
                d = away(steps[place], steps["cpu", "float32"])
                report.say(f"a step of {name}, {place[1]}, is away by", f"{d:.1e}")
        report.must(f"{name} is finite", bool(np.isfinite(steps["cpu", "float32"]).all()), "")


def _gradient(module: Any, data: Any, device: str, arithmetic: Arithmetic) -> np.ndarray:
    weight = torch.linspace(-1, 1, 2 * module.code_dim).reshape(2, -1).to(device)
    module.requires_grad_(True).zero_grad()
    with arithmetic.on(torch.device(device)):
        batch = module.batch(data, range(4))
        y = torch.tensor([0, 1, 0, 1], device=device)
        # Bags come one at a time, as the paper trains them.
        loss = module.training_loss(batch, y, lambda codes_bd: codes_bd @ weight.T)
        loss.backward()
    gradients = [p.grad.float().flatten() for p in module.parameters() if p.grad is not None]
    return torch.cat([loss.detach().float().flatten(), *gradients]).cpu().numpy()


def heads(report: Report) -> None:
    """A batch of decoders against each alone on the CPU: the same classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(165) % 3
    x_nd = rng.normal(size=(165, 96)).astype(np.float32) + labels[:, None]
    problems = [
        DecoderProblem(
            build_decoder("mlp", hidden_units=20, epochs=20, learning_rate=rate),
            x_nd, labels, x_nd[:28], labels[:28], 3, 0,
        )
        for rate in (1e-3, 3e-3, 1e-2, 3e-2)
    ]  # fmt: skip
    together = fit_decoders(problems, device=report.device)
    for problem, one in zip(problems, together, strict=True):
        (alone,) = fit_decoders([replace(problem)])
        assert not isinstance(one, Exception)
        assert not isinstance(alone, Exception)
        d = away(one.predict_proba(x_nd), alone.predict_proba(x_nd))
        report.must("batched decoder against one alone on the CPU", d <= FLOAT32, f"{d:.1e} (bar {FLOAT32:g})")
