"""What was asked for -> artifact id. The recipe is the identity; content digests serve integrity only.

GPU output is rarely bit-identical, so the same recipe gives the same artifact id wherever it runs, and asking again for
an artifact that exists is a no-op: that is how resume works.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.types import CodeSetKey


def code_artifact(
    key: CodeSetKey,
    case_id: str,
    image_id: str,
    input_digests: Sequence[str],
    pixels: Mapping[str, Any] | None = None,
) -> str:
    """Id of one bag or one case code.

    `input_digests`: sha256 of all files of the images, or artifact ids of pooled bags. `pixels`: what else decided the
    pixels, see `embeddings.pixels.pixels_of`; None or empty: nothing.
    """
    texts = (key.cohort, key.encoder_digest, key.modality, case_id, image_id, *input_digests)
    if not pixels and input_digests and _needs_no_escape("".join(texts)):
        # The canonical JSON of the recipe below, in a third of the time: a million are asked for.
        inputs = '","'.join(sorted(input_digests))
        text = (
            f'{{"case_id":"{case_id}","cohort":"{key.cohort}","encoder_digest":"{key.encoder_digest}",'
            f'"image_id":"{image_id}","inputs":["{inputs}"],"kind":"{key.kind}","modality":"{key.modality}"}}'
        )
        return hashlib.sha256(text.encode()).hexdigest()
    recipe = {
        "kind": key.kind,
        "cohort": key.cohort,
        "modality": key.modality,
        "encoder_digest": key.encoder_digest,
        "case_id": case_id,
        "image_id": image_id,
        "inputs": sorted(input_digests),
    }
    return sha256_of(recipe | {"pixels": dict(pixels)} if pixels else recipe)


def _needs_no_escape(text: str) -> bool:
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def weights_artifact(role: str, recipe: Mapping[str, Any]) -> str:
    """Id of trained weights.

    `role`: encoder, guidance or decoder. `recipe`: hyper-parameters, seed, split and fold, inputs, implementation
    version. The first commit of an id wins, and recipes downstream use the digest of its file.
    """
    return sha256_of({"kind": "weights", "role": role, "recipe": dict(recipe)})


def rows_artifact(kind: str, recipe: Mapping[str, Any]) -> str:
    """Id of a table of rows (labels, splits, …) or of a run."""
    return sha256_of({"kind": kind, "recipe": dict(recipe)})


def index_artifact(recipe: Mapping[str, Any]) -> str:
    """Id of a neighbour index. `recipe`: code set, digest of its codes' artifact ids, metric, parameters, version."""
    return sha256_of({"kind": "index", "recipe": dict(recipe)})
