"""What is known of an encoder without importing it: what it takes, how wide its codes are, where its weights come from.

A file with a network imports torch, which takes seconds. So the info that stands in an encoder's file is read from the
file's text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from guidestore.embeddings.pretraining import COLLECTIONS, pretraining_of

Weights = Literal["none", "trained", "file", "pretrained"]
"""none: it has none. trained: here, on each fold of a cohort. file: others trained them, and the user has their file.
pretrained: others trained them, and they are a file or on the model hub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderInfo:
    """One encoder. Stands in the encoder's own file as ``INFO = EncoderInfo(…)``, every argument a literal."""

    name: str
    encoder_class: str
    """module:class. Built by `registry.build_encoder`."""
    takes: tuple[str, ...]
    """Names of input kinds (`encoders.kinds`); what it was made for stands first."""
    code_dim: str
    """As people read it; c channels, k classes."""
    weights: Weights
    hub: str = ""
    """Repository on the model hub, and whether it is gated; '' for none."""
    licence: str = ""
    """Of the weights."""
    multi_task: bool = False
    """Trained on all targets of a cohort at once, unless some are named."""
    one_thread: bool = False
    """Its products are so small that threads cost more than they bring."""
    tile_size_px: int = 0
    """Edge of the tiles that it was made for."""
    mpp: float = 0.0
    """um per pixel of those tiles."""
    photograph_px: int = 0
    """Edge of the square that it is given of a photograph; of a trained encoder its presets say that."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the class takes to be this encoder, where it builds several."""

    @property
    def is_gated(self) -> bool:
        """The licence must be accepted on the hub before the weights can be had."""
        return self.hub.endswith(", gated")

    @property
    def is_trained(self) -> bool:
        """Whether it is trained here, on the folds of a split."""
        return self.weights == "trained"

    def row(self) -> dict[str, Any]:
        """For `guidestore encoders`: encoder, takes, code_dim, tile_px, mpp, weights, licence, saw.

        tile_px is the size of a photograph too, where a network was made for one size. saw: public collections of its
        pretraining, see `embeddings.pretraining`; '' where that is not known.
        """
        weights = {
            "none": "none needed",
            "trained": "trained here, on each fold" + (" and all targets at once" if self.multi_task else ""),
            "file": "--weights FILE",
            "pretrained": "--weights FILE" + (f", or hub {self.hub}" if self.hub else ""),
        }[self.weights]
        return {
            "encoder": self.name,
            "takes": ", ".join(self.takes),
            "code_dim": self.code_dim,
            "tile_px": self.tile_size_px or None,
            "mpp": self.mpp or None,
            "weights": weights,
            "licence": self.licence,
            "saw": _saw(self.name),
        }


def _saw(encoder: str) -> str:
    known = pretraining_of(encoder)
    if known is None or known.saw is None:
        return ""
    return ", ".join(COLLECTIONS[name] for name in known.saw) or "none of the public ones"


def infos_in(module: str) -> Iterator[EncoderInfo]:
    """Those in the file of `module`, in their order; the module is not imported. None for a module without a file."""
    spec = find_spec(module)
    path = Path(spec.origin) if spec and spec.origin else None
    text = path.read_text(encoding="utf-8") if path and path.suffix == ".py" else ""
    if EncoderInfo.__name__ not in text:
        return
    for statement in ast.parse(text).body:
        call = statement.value if isinstance(statement, ast.Assign) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == EncoderInfo.__name__:
            yield EncoderInfo(**{str(given.arg): ast.literal_eval(given.value) for given in call.keywords})
