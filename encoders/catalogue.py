"""All encoders by name, with what a user must know to choose one."""

from __future__ import annotations

from typing import Any

from encoders.pathology_models import MODELS
from encoders.registry import FROZEN_VOLUMES, INPUT_KINDS, TRAINED, patch_encoder_facts

_CODE_DIMS = {"texture": "46", "first_order": "15 c + c (c - 1) / 2", "colour_texture": "317"}
_TRAINED_DIMS = {
    "densenet3d": "32 (demo), 1024 (paper)",
    "clam_mb": "64 k (demo), 512 k (paper)",
}


def catalogue() -> list[dict[str, Any]]:
    """One row per encoder: encoder, takes, code_dim (c channels, k classes), tile_px, mpp, weights, licence."""
    rows = []
    for name, takes in INPUT_KINDS.items():
        tile_px, mpp = patch_encoder_facts(name) if takes == "tiles" else (None, None)
        if name in TRAINED:
            code_dim, weights = _TRAINED_DIMS.get(name, "64 (demo), 512 (paper)"), "trained here, on each fold"
        elif name in FROZEN_VOLUMES:
            code_dim, weights = "by the file", "--weights FILE"
        else:
            code_dim, weights = _CODE_DIMS[name], "none needed"
        rows.append(_row(name, takes, code_dim, tile_px, mpp, weights, ""))
    for model in MODELS.values():
        gated = ", gated" if model.gated else ""
        weights = f"--weights FILE, or hub {model.hub_repo}{gated}"
        rows.append(
            _row(model.name, "tiles", str(model.code_dim), model.input_size_px, model.mpp, weights, model.licence)
        )
    return rows


def _row(*values: Any) -> dict[str, Any]:
    return dict(zip(("encoder", "takes", "code_dim", "tile_px", "mpp", "weights", "licence"), values, strict=True))
