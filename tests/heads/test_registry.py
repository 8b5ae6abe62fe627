from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.registry import (
    build_decoder,
    build_guidance,
    check_class_weights,
    decoder_preset,
    decoder_presets,
    load_decoder,
    load_guidance,
)
from guidestore.warehouse.cohorts.layouts.derm7pt import CLASSES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("build", "name", "sentence"),
    [
        (
            build_guidance,
            "autoencodr",
            "did you mean 'autoencoder'. choose one of autoencoder, cca, contrastive, derm7pt-paper, "
            "derm7pt-released, kernel_ridge, linear, lupts, pls, radpath-paper, residual_mlp, retrieval, ridge, "
            "task_aware, variational",
        ),
        (
            build_decoder,
            "logstic",
            "did you mean 'logistic'. choose one of demo, derm7pt-paper, derm7pt-released, knn, least_squares, "
            "linear_svm, logistic, mlp, prototype, radpath-paper, radpath-released, random_forest, xgboost",
        ),
        (build_decoder, "zzz", "'zzz' is unknown: choose one of"),
    ],
)
def test_unknown_names_suggest_the_nearest(build, name, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        build(name)


def test_unknown_parameters_and_bad_values_are_refused():
    with pytest.raises(
        InvalidInputError, match="autoencoder: parameter 'learning_rat' is unknown: did you mean 'learning_rate'"
    ):
        build_guidance("autoencoder", learning_rat=0.1)
    with pytest.raises(InvalidInputError, match=r"mlp: epochs is 2\.5; it must be an integer of at least 1"):
        build_decoder("mlp", epochs=2.5)
    with pytest.raises(InvalidInputError, match=r"mlp: dropout is 1; it must be a number of at least 0 up to 0\.95"):
        build_decoder("mlp", dropout=1)
    with pytest.raises(InvalidInputError, match="ridge: alphas: an entry is -1; it must be a number above 0"):
        build_guidance("ridge", alphas=[-1])
    with pytest.raises(InvalidInputError, match="a relu output cannot reach"):
        build_guidance("autoencoder", output="relu")
    with pytest.raises(InvalidInputError, match="guidance model None is unknown"):
        load_guidance({}, {})
    with pytest.raises(InvalidInputError, match="decoder 'ridge' is unknown"):
        load_decoder({"name": "ridge"}, {})


def test_parameters_override_presets():
    config = build_guidance("radpath-paper", epochs=7).config
    assert (config["epochs"], config["output"], config["learning_rate"]) == (7, "relu", 0.5)
    assert build_guidance("autoencoder", hidden=[8, 4]).config["hidden"] == [8, 4]


def test_per_class_numbers_meet_their_classes():
    check_class_weights("radpath-paper", ("G", "O", "A"), {})
    check_class_weights("mlp", ("A", "G", "O"), {})
    check_class_weights("radpath-paper", ("A", "G", "O"), {"class_weights": (1.6, 1.0, 1.7)})
    with pytest.raises(InvalidInputError, match="in the order G, O, A, but the target lists them as A, G, O"):
        check_class_weights("radpath-paper", ("A", "G", "O"), {})
    with pytest.raises(InvalidInputError, match="3 class weights, but the target has 2 classes"):
        check_class_weights("radpath-paper", ("a", "b"), {})


def test_derm7pt_presets_know_their_targets_and_the_order_of_their_classes():
    assert decoder_presets()["derm7pt-paper"].by_target.keys() == CLASSES.keys()
    assert decoder_presets()["derm7pt-released"].by_target.keys() == CLASSES.keys()
    for target, classes in CLASSES.items():
        for preset in ("derm7pt-paper", "derm7pt-released"):
            check_class_weights(preset, tuple(classes), {}, target=target)
        assert decoder_preset("derm7pt-paper", target).class_order == tuple(classes)
        with pytest.raises(InvalidInputError, match="reorder the target's classes"):
            check_class_weights("derm7pt-paper", tuple(classes)[::-1], {}, target=target)
    assert build_decoder("derm7pt-paper", target="DIAG").config["class_weights"] == [15.0, 0.07, 1.4, 4.0, 15.0]
    rates = {t: build_decoder("derm7pt-released", target=t).config["learning_rate"] for t in CLASSES}
    assert rates == dict.fromkeys(CLASSES, 1e-4) | {"VS": 1e-3, "STR": 5e-4}
    assert build_decoder("derm7pt-released", target="VS").config["hidden_units"] == 0
    with pytest.raises(InvalidInputError, match=r"has numbers for the targets DIAG, PN, .* not for 'melanoma'; name"):
        build_decoder("derm7pt-paper", target="melanoma")


def test_heads_import_with_numpy_and_torch_alone():
    """The modules load without scikit-learn, scipy, xgboost or faiss, and the contracts without torch."""
    code = """
import sys
for name in ("sklearn", "scipy", "xgboost", "faiss", "pandas", "pyarrow", "zarr", "duckdb"):
    sys.modules[name] = None  # importing it now raises
import guidestore.heads.protocol, guidestore.heads.registry, guidestore.heads.input_rows, guidestore.heads.metrics
guidestore.heads.registry.guidance_names(), guidestore.heads.registry.decoder_names()
assert "torch" not in sys.modules
import numpy as np
g = guidestore.heads.registry.build_guidance("autoencoder", hidden=(4,), epochs=1)
g.fit(np.eye(4), np.eye(4), seed=0)
d = guidestore.heads.registry.build_decoder("mlp", epochs=1)
d.fit(np.eye(4), np.arange(4), np.eye(4), np.arange(4), n_classes=4, seed=0)
print("fitted")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("fitted", 0), done.stderr
