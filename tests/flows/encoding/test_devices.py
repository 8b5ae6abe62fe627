"""Where an encode computes, and in which arithmetic."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.warehouse.catalog import query_plain
from guidestore.warehouse.indexer import build_index
from tests.flows.conftest import CASES, SLIDES, Phantom


def test_several_devices_give_the_codes_of_one_and_lineage_says_where(encoded: Phantom, tmp_path: Path) -> None:
    """Two workers, one pool of readers. bfloat16 is another code set, of networks alone."""
    codes = []
    for device in ("cpu", "cpu,cpu"):
        place = tmp_path / device
        shutil.copytree(encoded.store, place)
        store = EmbeddingStore.open(place)
        asked = {"modality": "histology", "encoder": "attention_pooling", "seed": 1, "device": device}
        report = encode(store, encoded.encode_settings(**asked))
        assert (report.encoded, report.device) == (CASES, ", ".join(device.split(",")))
        codes.append(store.snapshot().codes(report.code_sets[0]))
    assert codes[0].case_ids == codes[1].case_ids
    assert np.array_equal(codes[0].codes_nd, codes[1].codes_nd)

    key = report.code_sets[0]
    rounded = encode(store, encoded.encode_settings(**asked, precision="bfloat16"))
    assert rounded.code_sets[0].encoder_digest != key.encoder_digest
    texture = encode(store, EncodeSettings(cohort="phantom", **SLIDES, precision="bfloat16"))
    assert (texture.encoded, texture.existing, texture.device) == (0, CASES, "cpu")
    build_index(store)
    artifact = store.snapshot().code_set_entries(key)[0].artifact
    found = query_plain(place, f"SELECT DISTINCT device FROM lineage WHERE artifact = '{artifact}'")
    assert list(found.table.rows) == [("cpu, cpu",)]
