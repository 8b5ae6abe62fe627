"""Every head that can travel gives, in a process that knows nothing of guidestore, the probabilities it gives here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.common.linear import Linear
from guidestore.heads.fitting import needs_decoder
from guidestore.heads.fusion.common.fused import FusedDecoder
from guidestore.heads.onnx_graph.head import head_onnx, parts_with_train_codes
from guidestore.heads.prediction import predict_row
from guidestore.heads.registry import (
    DECODERS,
    FUSIONS,
    GUIDANCE,
    STUDENTS,
    build_decoder,
    build_fusion,
    build_guidance,
    build_student,
)
from guidestore.heads.trained import Component
from guidestore.heads.transfer.decoder import StudentDecoder
from guidestore.heads.transfer.preparation import Preparation

TOLERANCE = 1e-6
"""Of a probability. Trees add up in float32; all else agrees to 1e-12."""
RUN_ALL = """
import json, sys
from pathlib import Path
import numpy, onnxruntime
for file in sorted(Path(sys.argv[1]).glob("*.onnx")):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    z = numpy.load(file.with_name("z.npy"))
    numpy.save(file.with_suffix(".npy"), session.run(["probabilities"], {"z_inferior": z})[0])
ours = [name for name in sys.modules if name.split(".")[0] in ("guidestore", "torch")]
print(json.dumps(ours))
"""
SMALL: dict[str, dict[str, Any]] = {
    "autoencoder": {"hidden": (8,), "epochs": 3},
    "task_aware": {"hidden": (8,), "epochs": 3},
    "contrastive": {"hidden": (8,), "epochs": 3},
    "residual_mlp": {"hidden": (8, 4), "epochs": 3},
    "variational": {"hidden": (8,), "latent": 3, "epochs": 3},
    "mlp": {"hidden_units": 6, "epochs": 4},
    "random_forest": {"trees": 7},
    "xgboost": {"rounds": 6},
}
RNG = np.random.default_rng(0)
Z_I = RNG.normal(size=(60, 6)).astype(np.float32)
Z_S = np.maximum(Z_I @ RNG.normal(size=(6, 4)) + 0.3 * RNG.normal(size=(60, 4)) + 2.0, 0.0).astype(np.float32)
LABELS = (np.arange(60) % 3 + (Z_S[:, 0] > 2)) % 3
NEW = np.concatenate([RNG.normal(size=(20, 6)), 5 * RNG.normal(size=(5, 6)), Z_I[:5]]).astype(np.float32)


def fitted_guidance(name: str, **params: Any) -> Any:
    model = build_guidance(name, **{**SMALL.get(name, {}), **params})
    given = {"decoder": Linear(RNG.normal(size=(3, 4)), np.zeros(3))} if needs_decoder(model) else {}
    return model.fit(Z_I, Z_S, seed=0, **given)


def fitted(decoder: Any, x_nd: np.ndarray) -> Any:
    return decoder.fit(x_nd[:45], LABELS[:45], x_nd[45:], LABELS[45:], n_classes=3, seed=0)


def fitted_decoder(name: str, x_nd: np.ndarray, **params: Any) -> Any:
    return fitted(build_decoder(name, **{**SMALL.get(name, {}), **params}), x_nd)


def kept(**models: Any) -> dict[str, Component]:
    """What the store keeps of these: JSON and tensors."""
    return {role: (json.loads(json.dumps(model.config)), model.tensors()) for role, model in models.items()}


def student(name: str) -> StudentDecoder:
    family = build_student(name)
    preparation = Preparation.fit(Z_I, name)
    path = family.fit_path(preparation.apply(Z_I), np.eye(3)[LABELS], np.ones(60), seed=0)
    return StudentDecoder(family, preparation, path[len(path) // 2], {})


def heads() -> dict[str, tuple[str, dict[str, Component]]]:
    """Name -> row and components: every G, every decoder, every fusion, every student, every row."""
    ridge = fitted_guidance("ridge")
    both_nd = np.hstack([ridge.predict(Z_I), Z_I])
    logistic = fitted_decoder("logistic", both_nd)
    made: dict[str, tuple[str, dict[str, Component]]] = {}
    for name in GUIDANCE.names():
        made[f"guidance-{name}"] = ("G(I)+I", kept(guidance=fitted_guidance(name), decoder=logistic))
    paper = fitted_guidance("autoencoder", standardise=False, output="relu")
    made["guidance-paper"] = ("G(I)+I", kept(guidance=paper, decoder=logistic))
    for name in DECODERS.names():
        made[f"decoder-{name}"] = ("G(I)+I", kept(guidance=ridge, decoder=fitted_decoder(name, both_nd)))
    for name, params in (
        ("linear", {"hidden_units": 0, "standardise": False}),
        ("released", {"relu_dropout_on_logits": True}),
    ):
        made[f"mlp-{name}"] = ("G(I)+I", kept(guidance=ridge, decoder=fitted_decoder("mlp", both_nd, **params)))
    calibrated = fitted_decoder("random_forest", both_nd, calibration="temperature")
    made["calibrated"] = ("G(I)+I", kept(guidance=ridge, decoder=calibrated))
    for name in FUSIONS.names():
        fusion = build_fusion(name, **({} if name == "late" else {"width": 3, "epochs": 3}))
        assert fusion is not None
        fused = fitted(FusedDecoder(fusion, build_decoder("logistic", calibration="temperature"), (4, 6)), both_nd)
        made[f"fusion-{name}"] = ("G(I)+I", kept(guidance=ridge, decoder=fused))
    superior = fitted_decoder("prototype", Z_S)
    inferior = kept(decoder=fitted_decoder("linear_svm", Z_I))
    made["row-I"] = ("I", inferior)
    made["row-G"] = ("G(I)", kept(guidance=ridge, decoder=superior))
    made["row-KD"] = ("KD(I)", inferior)
    made["row-GD"] = ("GD(I)", inferior)
    made["row-E"] = ("E(I)", inferior | kept(guidance=ridge, superior_decoder=superior))
    made["row-as-published"] = ("I", kept(decoder=Linear(RNG.normal(size=(3, 6)), RNG.normal(size=3))))
    made["row-T-with-G"] = ("T(I)", kept(guidance=ridge, decoder=logistic))
    for name in STUDENTS.names():
        made[f"student-{name}"] = ("T(I)", kept(decoder=student(name)))
    return made


def test_a_process_that_knows_nothing_of_guidestore_gives_the_same_probabilities(tmp_path: Path) -> None:
    made = heads()
    np.save(tmp_path / "z.npy", NEW)
    for name, (row, components) in made.items():
        content = head_onnx(row, components, 6)
        assert head_onnx(row, components, 6) == content
        (tmp_path / f"{name}.onnx").write_bytes(content)
    (tmp_path / "run_all.py").write_text(RUN_ALL)
    done = subprocess.run([sys.executable, "-I", "run_all.py", "."], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    for name, (row, components) in made.items():
        expected = predict_row(row, components, NEW)
        given = np.load(tmp_path / f"{name}.npy")
        trees = "forest" in name or name in ("decoder-xgboost", "calibrated")
        np.testing.assert_allclose(given, expected, atol=TOLERANCE if trees else 1e-12, rtol=0, err_msg=name)


def test_what_has_no_graph_and_what_needs_the_superior_image_are_refused() -> None:
    noise = {"mean": np.zeros(4), "deviation": np.ones(4), "key": np.ones(4)}
    components = kept(decoder=fitted_decoder("logistic", np.hstack([Z_S, Z_I])))
    with pytest.raises(InvalidInputError, match="'noise' has no ONNX form"):
        head_onnx("G(I)+I", components | {"guidance": ({"name": "noise"}, noise)}, 6)
    with pytest.raises(InvalidInputError, match="needs the superior image"):
        head_onnx("S+I", components, 6)


def test_without_onnx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InvalidInputError, match=r"install guidestore\[export\]"):
        head_onnx("I", kept(decoder=Linear(np.zeros((3, 6)), np.zeros(3))), 6)


def test_models_that_keep_train_codes_are_named() -> None:
    knn = fitted_decoder("knn", Z_I, calibration="temperature")
    assert parts_with_train_codes(kept(guidance=fitted_guidance("retrieval"), decoder=knn)) == ["knn", "retrieval"]
    assert parts_with_train_codes(kept(guidance=fitted_guidance("ridge"), decoder=fitted_decoder("mlp", Z_I))) == []
