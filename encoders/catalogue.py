"""All encoders by name, with what a user must know to choose one."""

from __future__ import annotations

from typing import Any

from guidestore.encoders.pathology_models import MODELS
from guidestore.encoders.photograph_models import PHOTOGRAPH_MODELS
from guidestore.encoders.registry import FROZEN_VOLUMES, INPUT_KINDS, MULTI_TASK, TRAINED, patch_encoder_facts

_CODE_DIMS = {"texture": "46", "first_order": "15 c + c (c - 1) / 2", "colour_texture": "317"}
_TRAINED_DIMS = {
    "densenet3d": "32 (demo), 1024 (paper)",
    "inception_multitask": "288 (demo), 2048 (paper)",
    "clam_mb": "64 k (demo), 512 k (paper)",
}


def catalogue() -> list[dict[str, Any]]:
    """One row per encoder: encoder, takes, code_dim (c channels, k classes), tile_px, mpp, weights, licence.

    What a network was made for stands first in takes. tile_px is the size of a photograph too.
    """
    rows = []
    for name, takes in INPUT_KINDS.items():
        tile_px, mpp = patch_encoder_facts(name) if takes == "tiles" else (None, None)
        if name in TRAINED:
            code_dim, weights = _TRAINED_DIMS.get(name, "64 (demo), 512 (paper)"), "trained here, on each fold"
            if name in MULTI_TASK:
                weights += " and all targets at once"
        elif name in FROZEN_VOLUMES:
            code_dim, weights = "by the file", "--weights FILE"
        else:
            code_dim, weights = _CODE_DIMS[name], "none needed"
        rows.append(_row(name, takes, code_dim, tile_px, mpp, weights, ""))
    for model in (*MODELS.values(), *PHOTOGRAPH_MODELS.values()):
        gated = ", gated" if model.gated else ""
        weights = f"--weights FILE, or hub {model.hub_repo}{gated}" if model.hub_repo else "--weights FILE"
        takes = "tiles, photographs" if model.name in MODELS else "photographs, tiles"
        rows.append(
            _row(model.name, takes, str(model.code_dim), model.input_size_px, model.mpp, weights, model.licence)
        )
    return rows


def _row(*values: Any) -> dict[str, Any]:
    return dict(zip(("encoder", "takes", "code_dim", "tile_px", "mpp", "weights", "licence"), values, strict=True))
