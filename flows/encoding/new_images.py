"""Codes of new images: each brought to what the encoder takes, and encoded, with a store or without."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.remote import fetched
from guidestore.embeddings.types import CodeSetKey
from guidestore.encoders.input_kind import NewImages, input_kind
from guidestore.encoders.protocol import Encoder
from guidestore.flows.encoding.stored_encoders import Encoders
from guidestore.flows.work.reporting import Progress, counted, no_progress


def encode_images(
    encoders: Encoders,
    key: CodeSetKey,
    files: Sequence[Path],
    mpp: float | None,
    *,
    trust_geometry: bool,
    device: str,
    weights: Path | None,
    progress: Progress = no_progress,
) -> tuple[list[str], np.ndarray]:
    """Case ids and codes (n, d) of the images of new cases, as `key` has them.

    files: or URLs (embeddings.remote). mpp: of slides that do not say it. weights: file of a pretrained encoder; None:
    the hub. Raises InvalidInputError where files are of another modality, and where the codes of `key` were imported.
    """
    stored = encoders.stored(key.encoder_digest)
    if stored.is_imported:
        raise InvalidInputError(
            f"the codes of {key} were imported, so guidestore cannot make them from images; give --codes FILE"
        )
    kind = input_kind(stored.spec.input_kind)
    encoder = encoders.build(stored, device, weights)

    def encoder_of(digest: str) -> Encoder:
        return encoders.build(encoders.stored(digest), device, weights)

    with ExitStack() as fetching:
        local = [fetching.enter_context(fetched(file)) for file in files]
        inputs = kind.new_inputs(
            NewImages(local, key.modality, stored.spec.preprocessing, mpp, encoder_of, trust_geometry)
        )
        # One by one, as a cohort is encoded: the codes then equal the stored ones bit for bit.
        images = counted(inputs.values(), len(inputs), "cases", progress)
        codes = [encoder.encode(image[None] if isinstance(image, np.ndarray) else [image]) for image in images]
    return list(inputs), np.concatenate(codes)
