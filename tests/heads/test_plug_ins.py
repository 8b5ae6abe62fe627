"""A guidance model, a decoder and a metric of another distribution, installed as pip leaves it, do what ours do."""

from __future__ import annotations

import json
import re
from pathlib import Path

from guidestore.heads.metrics.classes import METRICS
from tests.embeddings.test_plugins import install, python

SOURCE = '''
from dataclasses import dataclass
import numpy as np
from guidestore.heads.checks import take_tensor
from guidestore.heads.decoders.common.fitted import FittedDecoder
from guidestore.heads.guidance.common.fitted import GuidanceBase

@dataclass(frozen=True, kw_only=True)
class Settings:
    scale: float = 1.0

class Mean(GuidanceBase[np.ndarray]):
    """Always the mean of z_S."""
    name = "mean"
    Settings = Settings
    def learn(self, problem):
        z_nd = problem.z_superior_nd
        return self.settings.scale * z_nd.mean(axis=0, dtype=np.float64), {"n": float(len(z_nd))}
    def foretell(self, fitted, z_inferior_nd):
        return np.tile(fitted, (len(z_inferior_nd), 1))
    def code_dim(self, fitted):
        return 3
    def pack(self, fitted):
        return {"mean": fitted}
    def unpack(self, tensors):
        return take_tensor(tensors, "mean", (None,), self.name)

class Share(FittedDecoder[np.ndarray]):
    """Always the shares of the classes."""
    name = "share"
    Settings = Settings
    def candidates(self, problem):
        yield np.bincount(problem.labels, minlength=problem.n_classes) / len(problem.labels), {"val_loss": 0.0}
    def probabilities(self, fitted, x_nd):
        return np.tile(fitted, (len(x_nd), 1))
    def code_dim(self, fitted):
        return 5
    def pack(self, fitted):
        return {"share": fitted}
    def unpack(self, tensors):
        return take_tensor(tensors, "share", (None,), self.name)

def error_rate(y, said):
    return np.mean(said.argmax(axis=1) != y)

error_rate.title, error_rate.better = "error rate", "lower"
'''
ENTRY_POINTS = """
[guidestore.guidance]
mean = theirs:Mean
[guidestore.decoders]
share = theirs:Share
[guidestore.metrics]
error_rate = theirs:error_rate
"""
USE = """
import json
import numpy as np
from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads import registry
listed = ["mean" in registry.guidance_names(), "share" in registry.decoder_names(), "theirs" in sys.modules]
from guidestore.heads.metrics import asked_metric, drawn_metrics, evaluate, metric_named
from guidestore.heads.onnx_graph.head import head_onnx
from guidestore.heads.prediction import predict_row
z_i, z_s = np.zeros((4, 3), np.float32), np.arange(8, dtype=np.float32).reshape(4, 2)
model = registry.build_guidance("mean", scale=2.0).fit(z_i, z_s, seed=0)
both, labels = np.hstack([model.predict(z_i), z_i]), np.array([0, 0, 0, 1])
decoder = registry.build_decoder("share", calibration="none").fit(both, labels, both, labels, n_classes=2, seed=0)
components = {name: (m.config, m.tensors()) for name, m in (("guidance", model), ("decoder", decoder))}
try:
    head_onnx("G(I)+I", components, 3)
except InvalidInputError as error:
    refusal = str(error)
print(json.dumps({
    "listed": listed,
    "guided": model.predict(z_i)[0].tolist(),
    "said": predict_row("G(I)+I", components, z_i)[0].tolist(),
    "asked": asked_metric("error_rate"),
    "errors": evaluate(labels, decoder.predict_proba(both), ("a", "b"))[asked_metric("error_rate")],
    "better": metric_named(asked_metric("error_rate")).better,
    "drawn": list(drawn_metrics()),
    "refusal": refusal,
}))
"""


def test_they_are_listed_without_being_imported_and_then_fitted_loaded_and_scored(tmp_path: Path) -> None:
    install(tmp_path, "theirs", ENTRY_POINTS, "theirs", SOURCE)
    told = json.loads(python(USE, tmp_path))
    assert told["listed"] == [True, True, False]
    assert told["guided"] == [6.0, 8.0]
    assert told["said"] == [0.75, 0.25]
    assert told["errors"] == 0.25
    assert re.fullmatch("error_rate@[0-9a-f]{8}", told["asked"])
    assert told["better"] == "lower"
    assert told["drawn"] == [*(metric.name for metric in METRICS if metric.drawn), told["asked"]]
    assert told["refusal"] == "'mean' has no ONNX form; export a head without it"


def test_a_metric_with_the_name_of_ours_is_refused(tmp_path: Path) -> None:
    install(tmp_path, "theirs", "[guidestore.metrics]\nauroc = theirs:error_rate\n", "theirs", SOURCE)
    code = """
from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.metrics import all_metrics
try:
    all_metrics()
except InvalidInputError as error:
    print(error)
"""
    assert "entry point 'auroc' of guidestore.metrics has the name of a metric of guidestore" in python(code, tmp_path)
