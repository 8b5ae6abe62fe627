"""Under which licence the weights of an encoder are, also of one whose codes were imported."""

from __future__ import annotations

from guidestore.embeddings.pretraining import pretraining_of
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CodeSetKey
from guidestore.flows.encoding.seen import encoders_behind


def weights_licence(encoder: str) -> str:
    """``CC-BY-NC-ND-4.0, gated``, by the name that this project or another tool has for the encoder; '' for unknown.

    Loads no network.
    """
    from guidestore.encoders.registry import encoder_infos

    known = pretraining_of(encoder)
    infos = [encoder_infos().get(name) for name in (encoder, *(known.names if known else ()))]
    info = next((info for info in infos if info and info.licence), None)
    if info is None:
        return known.weights if known else ""
    return info.licence + (", gated" if info.is_gated else "")


def licence_behind(snapshot: Snapshot, key: CodeSetKey) -> str:
    """Of the encoder of a code set, or of the patch codes that it pooled; '' where nothing is known."""
    licences = (weights_licence(made_by.encoder) for made_by in encoders_behind(snapshot, key))
    return "; ".join(dict.fromkeys(filter(None, licences)))
