"""Encoders of others: a class named ``module:Class``, what an installed distribution brings, or an object in Python.

The version in the spec of such an encoder ends in ``+module:Class@DIGEST``, the digest of its source: changed code
makes other codes, and the store knows what made those that it has. Of an object, what it was made with belongs to it
(embeddings.fingerprint).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.fingerprint import fingerprint
from guidestore.embeddings.plugins import load_object
from guidestore.embeddings.source import Code, code_of, digest_before_import, object_name
from guidestore.embeddings.types import EncoderSpec
from guidestore.encoders.info import EncoderInfo, infos_in
from guidestore.encoders.protocol import Encoder

_CODE = re.compile(r"\+([^+@]+:[^+@]+)@((?:unversioned-)?[0-9a-f]{16})$")


class OwnEncoder:
    """An encoder whose spec says which code it is; all else is its own."""

    def __init__(self, encoder: Encoder, code: Code | None = None, input_read: Mapping[str, Any] | None = None) -> None:
        """code: None for that of its class. input_read: how its input was prepared, where it does not say it."""
        self._encoder, spec = encoder, encoder.spec
        version = f"{spec.version}+{_shown(code or code_of(type(encoder)))}"
        self._spec = replace(spec, version=version, preprocessing={**(input_read or {}), **spec.preprocessing})

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    def encode(self, batch: Any, /) -> np.ndarray:
        return self._encoder.encode(batch)

    def __getattr__(self, name: str) -> Any:
        if name == "_encoder":  # not there yet, as while it is copied
            raise AttributeError(name)
        return getattr(self._encoder, name)


def _shown(code: Code) -> str:
    kind, _, digest = code.source.rpartition("-")
    return f"{code.name}@{kind and f'{kind}-'}{digest[:16]}"


def check_encoder(given: Any) -> Encoder:
    """`given`, where it is an encoder. Raises InvalidInputError."""
    spec = getattr(given, "spec", None)
    if inspect.isclass(given) or not isinstance(spec, EncoderSpec) or not callable(getattr(given, "encode", None)):
        what = f"the class {given.__name__}" if inspect.isclass(given) else f"a {type(given).__name__}"
        raise InvalidInputError(
            f"{what} is no encoder; pass the name of one, or an object with spec, a "
            "guidestore.embeddings.types.EncoderSpec, and encode(batch) -> (b, code_dim) float32"
        )
    return given


def info_of(encoder: Encoder) -> EncoderInfo:
    """What an object's spec says of it."""
    spec = encoder.spec
    made_for = {
        name: spec.preprocessing[key]
        for name, key in (("tile_size_px", "tile_size_px"), ("mpp", "target_mpp"), ("photograph_px", "size_px"))
        if key in spec.preprocessing
    }
    return EncoderInfo(
        name=spec.name,
        encoder_class=object_name(type(encoder)),
        takes=(spec.input_kind,),
        code_dim=str(spec.code_dim),
        weights="none",
        **made_for,
    )


def given_encoder(encoder: Encoder, input_read: Mapping[str, Any]) -> Encoder:
    """An object as an encoder whose spec says which it is."""
    return OwnEncoder(encoder, fingerprint(encoder), input_read)


def own_info(name: str) -> EncoderInfo:
    """What the file of ``module:Class`` says of that class, of the working directory too. Raises InvalidInputError."""
    load_object("encoder", name, here=True)
    return _info(name)


def own_class(name: str) -> Any:
    """Raises InvalidInputError."""
    return load_object("encoder", name)


def asked_for(spec: EncoderSpec, known: Any) -> str:
    """By what name a stored encoder is built again: its own where that is `known`, else ``module:Class``.

    Raises InvalidInputError where that is other code: what nobody asked for is not imported.
    """
    found = _CODE.search(spec.version)
    if found is None or spec.name in known:
        return spec.name
    name, digest = found.groups()
    module = name.partition(":")[0]
    there = "" if module in sys.modules else digest_before_import(module)
    if there and not there.startswith(digest):
        raise InvalidInputError(
            f"encoder {spec.name} has other code ({name}, source {there[:8]}) than what made the stored codes "
            f"({digest[:8]}); restore that code, or encode again"
        )
    load_object("encoder", name)
    return _info(name).encoder_class


def _info(name: str) -> EncoderInfo:
    found = load_object("encoder", name)
    asked = {name, object_name(found)}
    infos = [info for info in infos_in(found.__module__) if info.encoder_class in asked]
    if not infos:
        raise InvalidInputError(
            f"encoder {name!r}: its file has no EncoderInfo with encoder_class={name!r}; write one at its top"
        )
    return infos[0]
