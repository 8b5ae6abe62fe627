"""What an encoder is: the one contract that everything from pixels to codes follows."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from guidestore.embeddings.types import EncoderSpec


@runtime_checkable
class Encoder(Protocol):
    """A function image -> code with a name, a version and a digest (`spec`).

    `encode` takes a batch of b items, whose type `spec.input_kind` decides, and returns codes_bd, (b, d) float32,
    finite, with d = `spec.code_dim`:

    | input_kind | batch |
    |---|---|
    | tiles | tiles_bhwc: (b, h, w, 3) uint8 RGB, as `encoders.slides` cuts them |
    | volumes | volumes_bcdhw: (b, c, d, h, w) float32, as `encoders.volumes.load_volume` makes them |
    | photographs | photographs_bhwc: (b, h, w, 3) uint8 RGB, as `encoders.photographs.load_photograph` makes them |
    | bags | a sequence of b `Bag`s, each with at least one tile: one code per bag |

    For every encoder: the same batch gives the same codes bit for bit on one CPU; a code does not depend on its batch
    mates beyond 1e-5 (of codes of unit scale); b may be 0; networks run in eval mode; nothing is kept between calls,
    and the batch is never written to. A batch of another type, shape or dtype raises InvalidInputError.
    """

    @property
    def spec(self) -> EncoderSpec:
        """Identity of the encoder, preprocessing of its input included."""
        ...

    def encode(self, batch: Any, /) -> np.ndarray:
        """codes_bd of the batch."""
        ...
