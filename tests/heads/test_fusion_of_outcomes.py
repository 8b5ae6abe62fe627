"""Fusions of values, survival, grades and several labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from guidestore.heads.choice import Choice
from guidestore.heads.fusion.common.lesson import lesson_of
from guidestore.heads.metrics import main_metric_of
from guidestore.heads.onnx_graph.head import head_onnx
from guidestore.heads.outcomes import reference_of
from guidestore.heads.prediction import predict_row
from guidestore.heads.registry import FUSIONS
from guidestore.heads.rows.train import train_rows
from tests.heads.mediated import mediated_pairs
from tests.heads.training import job_of
from tests.outcome_store import TARGETS

DECODERS = {"length": "ridge", "os": "ridge", "grade": "proportional_odds", "findings": "logistic"}
LEAST = {"length": 0.3, "os": 0.65, "grade": 0.3, "findings": 0.75}


@pytest.mark.parametrize("target", TARGETS)
def test_every_fusion_learns_every_kind_and_comes_back(target: str) -> None:
    paired = mediated_pairs(target, 340, train=160)
    names = FUSIONS.names()
    of: dict[str, Any] = {
        "guidance": "ridge",
        "decoder": DECODERS[target],
        "rows": ("S+I", "G(I)+I"),
        "permutations": 0,
    }
    jobs = [
        replace(job_of(paired, **of), fusion=Choice.of(name, {} if name == "late" else {"epochs": 20, "width": 8}))
        for name in names
    ]
    reference, main = reference_of(paired), main_metric_of(TARGETS[target]["kind"]).name
    rest = slice(160, None)
    for name, (both, guided) in zip(names, train_rows(jobs), strict=True):
        assert both.status == guided.status == "ok"
        assert both.decoder.endswith(f"fusion={name}" if name == "late" else f"fusion={name}(epochs=20, width=8)")
        assert both.metrics["test"][main] > LEAST[target], (name, both.metrics["test"])
        z_nd = (paired.inferior_nd[rest], paired.superior_nd[rest])
        told = predict_row("S+I", both.components, *z_nd, horizon=reference)
        np.testing.assert_allclose(told, both.probabilities, atol=1e-9)
        model = onnxruntime.InferenceSession(head_onnx("G(I)+I", guided.components, paired.inferior_nd.shape[1]))
        out = np.asarray(model.run(None, {"z_inferior": z_nd[0]})[0])
        np.testing.assert_allclose(out, guided.probabilities[:, : out.shape[1]], atol=1e-4)


def test_late_is_the_mean_of_two_decoders_of_risks_and_curves() -> None:
    paired = mediated_pairs("os", 300)
    of: dict[str, Any] = {"guidance": "ridge", "decoder": "ridge", "permutations": 0}
    (late,) = train_rows([replace(job_of(paired, rows=("S+I",), **of), fusion=Choice.of("late"))])[0]
    s, i = train_rows([job_of(paired, rows=("S", "I"), **of)])[0]
    np.testing.assert_allclose(late.probabilities, (s.probabilities + i.probabilities) / 2)


@pytest.mark.parametrize("target", TARGETS)
def test_the_heads_loss_has_the_slope_that_differences_show(target: str) -> None:
    y = mediated_pairs(target).y[:20]
    lesson = lesson_of(TARGETS[target]["kind"], y, y, len(TARGETS[target].get("names", ())) or 1)
    out = torch.randn(20, lesson.d_out, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.autograd.gradcheck(lambda out: lesson.loss(out, lesson.y.double()), (out.requires_grad_(),))
