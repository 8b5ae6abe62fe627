"""Trees as one ONNX node: a scikit-learn forest as heads.forest keeps it, and boosted trees of xgboost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.heads.onnx_graph.graph import Value

_ML = "ai.onnx.ml"


def walked(x: Value, forest: Mapping[str, np.ndarray]) -> Value:
    """As heads.forest.walk: (n, d) -> (n, k) float64 scores of the leaves that each row reaches, summed over trees."""
    n_nodes, n_scores = forest["scores"].shape
    roots = forest["roots"].astype(np.int64)
    tree_m = np.searchsorted(roots, np.arange(n_nodes), side="right") - 1
    own_m = np.arange(n_nodes) - roots[tree_m]
    left_m, right_m = (forest[name].astype(np.int64) - roots[tree_m] for name in ("left", "right"))
    leaf_m = left_m == own_m
    leaves = np.flatnonzero(leaf_m)
    targets = {
        "target_treeids": np.repeat(tree_m[leaves], n_scores),
        "target_nodeids": np.repeat(own_m[leaves], n_scores),
        "target_ids": np.tile(np.arange(n_scores), len(leaves)),
    }
    # Codes are float32 and thresholds float64, so both are compared as float64.
    return _ensemble(
        x.rounded(),
        n_scores,
        tree_m,
        own_m,
        column_m=forest["column"].astype(np.int64),
        threshold_m=forest["threshold"],
        left_m=np.where(leaf_m, 0, left_m),
        right_m=np.where(leaf_m, 0, right_m),
        modes=np.where(leaf_m, "LEAF", "BRANCH_LEQ").tolist(),
        targets=targets,
        weights=forest["scores"][leaves].ravel().astype(np.float64),
    )


def boosted(x: Value, booster: Any) -> Value:
    """(n, d) -> (n, k) float64 margins of a booster, float32 as xgboost's own; k is 1 but of `multi:softprob`.

    A missing code goes nowhere in particular: heads refuse codes that are not finite.
    """
    model = json.loads(bytes(booster.save_raw("json")))["learner"]
    trees, classes = (model["gradient_booster"]["model"][name] for name in ("trees", "tree_info"))
    n_classes = max(1, int(model["learner_model_param"]["num_class"]))
    parts: dict[str, list[np.ndarray]] = {}
    for i, (tree, c) in enumerate(zip(trees, classes, strict=True)):
        left_m = np.array(tree["left_children"])
        leaf_m = left_m < 0
        value_m = np.array(tree["split_conditions"], np.float32)
        n_leaves = int(leaf_m.sum())
        for name, part in (
            ("tree", np.full(len(left_m), i)),
            ("own", np.arange(len(left_m))),
            ("column", np.where(leaf_m, 0, tree["split_indices"])),
            ("threshold", np.where(leaf_m, 0, value_m)),
            ("left", np.where(leaf_m, 0, left_m)),
            ("right", np.where(leaf_m, 0, tree["right_children"])),
            ("leaf", leaf_m),
            ("target_treeids", np.full(n_leaves, i)),
            ("target_nodeids", np.flatnonzero(leaf_m)),
            ("target_ids", np.full(n_leaves, c)),
            ("weights", value_m[leaf_m]),
        ):
            parts.setdefault(name, []).append(part)
    whole = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    margins = _ensemble(
        x.cast(np.float32),
        n_classes,
        whole["tree"],
        whole["own"],
        column_m=whole["column"],
        threshold_m=whole["threshold"].astype(np.float32),
        left_m=whole["left"],
        right_m=whole["right"],
        modes=np.where(whole["leaf"], "LEAF", "BRANCH_LT").tolist(),
        targets={name: whole[name] for name in ("target_treeids", "target_nodeids", "target_ids")},
        weights=whole["weights"].astype(np.float32),
    )
    base = np.array(json.loads(model["learner_model_param"]["base_score"]), np.float64)
    if model["objective"]["name"] == "survival:aft":
        base = np.log(base)  # of a time, where margins are of its logarithm
    return margins + np.broadcast_to(base, n_classes).copy()


def _ensemble(
    x: Value,
    n_scores: int,
    tree_m: np.ndarray,
    own_m: np.ndarray,
    *,
    column_m: np.ndarray,
    threshold_m: np.ndarray,
    left_m: np.ndarray,
    right_m: np.ndarray,
    modes: list[str],
    targets: Mapping[str, np.ndarray],
    weights: np.ndarray,
) -> Value:
    """The node over m tree nodes; thresholds and weights of float64 where `x` is. Its scores are float32, widened."""
    from onnx.numpy_helper import from_array

    doubles = threshold_m.dtype == np.float64
    values = (
        {
            "nodes_values_as_tensor": from_array(threshold_m, "thresholds"),
            "target_weights_as_tensor": from_array(weights, "weights"),
        }
        if doubles
        else {"nodes_values": threshold_m.tolist(), "target_weights": weights.tolist()}
    )
    return x.graph.node(
        "TreeEnsembleRegressor",
        x,
        domain=_ML,
        n_targets=n_scores,
        nodes_treeids=tree_m.tolist(),
        nodes_nodeids=own_m.tolist(),
        nodes_featureids=column_m.tolist(),
        nodes_modes=modes,
        nodes_truenodeids=left_m.tolist(),
        nodes_falsenodeids=right_m.tolist(),
        **{name: array.tolist() for name, array in targets.items()},
        **values,
    ).cast(np.float64)
