"""The trees of a scikit-learn forest as arrays over all nodes of all trees, and walked in numpy as scikit-learn walks
them (codes as float32, left where code <= threshold)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import take_tensor

type Forest = dict[str, np.ndarray]
"""column (m,) float32, threshold, left, right (m,) float64 and scores (m, k) float32 of the m nodes; roots (trees,)
float64. Places of nodes are floats, which `heads.checks.take_tensor` checks. A leaf leads to itself."""


def flatten(trees: Sequence[Any]) -> Forest:
    """The `tree_` of each estimator: of a classifier of k classes, or of a regressor of k outputs."""
    counts = [tree.node_count for tree in trees]
    roots = np.cumsum([0, *counts[:-1]])
    kept: dict[str, list[np.ndarray]] = {name: [] for name in ("column", "threshold", "left", "right", "scores")}
    for tree, root in zip(trees, roots, strict=True):
        leaf = tree.children_left < 0
        own = np.arange(tree.node_count)
        kept["column"].append(np.where(leaf, 0, tree.feature).astype(np.float32))
        kept["threshold"].append(np.where(leaf, 0.0, tree.threshold))
        kept["left"].append(np.where(leaf, own, tree.children_left) + float(root))
        kept["right"].append(np.where(leaf, own, tree.children_right) + float(root))
        kept["scores"].append(np.maximum(tree.value.reshape(len(own), -1), 0.0).astype(np.float32))
    return {name: np.concatenate(parts) for name, parts in kept.items()} | {"roots": roots.astype(np.float64)}


def walk(forest: Mapping[str, np.ndarray], x_nd: np.ndarray) -> np.ndarray:
    """(n, d) -> (n, k) float64: the scores of the leaves that each row reaches, summed over the trees."""
    x_nd = x_nd.astype(np.float32)
    column, threshold = forest["column"].astype(np.int64), forest["threshold"]
    left, right = forest["left"].astype(np.int64), forest["right"].astype(np.int64)
    node_nt = np.tile(forest["roots"].astype(np.int64), (len(x_nd), 1))
    rows_n1 = np.arange(len(x_nd))[:, None]
    while (left[node_nt] != node_nt).any():
        goes_left_nt = x_nd[rows_n1, column[node_nt]] <= threshold[node_nt]
        node_nt = np.where(goes_left_nt, left[node_nt], right[node_nt])
    scores_nk = np.zeros((len(x_nd), forest["scores"].shape[1]))
    for t in range(node_nt.shape[1]):
        scores_nk += forest["scores"][node_nt[:, t]]
    return scores_nk


def take_forest(tensors: Mapping[str, np.ndarray], n_dims: int, what: str) -> Forest:
    """The forest among `tensors`, for codes of n_dims. Raises InvalidInputError where it is no forest."""
    forest = {"scores": take_tensor(tensors, "scores", (None, None), what)}
    n_nodes = len(forest["scores"])
    for name in ("column", "threshold", "left", "right"):
        forest[name] = take_tensor(tensors, name, (n_nodes,), what)
    forest["roots"] = take_tensor(tensors, "roots", (None,), what)
    limits = {"column": n_dims, "left": n_nodes, "right": n_nodes, "roots": n_nodes}
    for name, limit in limits.items():
        if forest[name].size and not 0 <= forest[name].min() <= forest[name].max() < limit:
            raise InvalidInputError(f"{what}: tensor {name!r} leads outside the trees; it is of another model")
    own = np.arange(n_nodes)
    left, right = (forest[name].astype(np.int64) for name in ("left", "right"))
    inner = left != own
    # Children come after their parent, so every walk ends.
    if (left[inner] < own[inner]).any() or (right[inner] <= own[inner]).any():
        raise InvalidInputError(
            f"{what}: the trees lead back to where they came from; the weights are of another model"
        )
    return forest
