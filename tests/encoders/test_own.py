"""An encoder of the working directory: its code is part of what its codes are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.registry import build_encoder, encoder_info, name_to_build

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/encoder/guidestore_mean_colour.py"
NAME = "guidestore_mean_colour:MeanColour"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    file = tmp_path / EXAMPLE.name
    file.write_text(EXAMPLE.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    encoder_info.cache_clear()
    yield file
    sys.modules.pop("guidestore_mean_colour", None)
    encoder_info.cache_clear()


def test_it_encodes_and_is_built_again_from_what_the_store_knows(mine: Path) -> None:
    assert encoder_info(NAME).takes == ("photographs", "tiles")
    encoder = build_encoder(NAME)
    assert encoder.spec.name == "mean_colour"
    assert encoder.spec.version.startswith(f"1+{NAME}@")
    grey = np.full((2, 8, 8, 3), 51, np.uint8)
    np.testing.assert_allclose(encoder.encode(grey), [[0.2, 0.2, 0.2, 0, 0, 0]] * 2, atol=1e-6)
    assert name_to_build(encoder.spec) == NAME
    assert build_encoder(name_to_build(encoder.spec)).spec == encoder.spec


def test_changed_code_is_another_encoder_and_is_not_imported_for_old_codes(mine: Path) -> None:
    before = build_encoder(NAME).spec
    del sys.modules["guidestore_mean_colour"]
    mine.write_text(mine.read_text().replace("/ 255", "/ 256.0"))
    with pytest.raises(InvalidInputError, match="encoder mean_colour has other code"):
        name_to_build(before)
    assert "guidestore_mean_colour" not in sys.modules
    assert build_encoder(NAME).spec.digest != before.digest


def test_a_file_without_an_info_is_said(mine: Path) -> None:
    mine.write_text("class MeanColour:\n    pass\n")
    with pytest.raises(InvalidInputError, match="its file has no EncoderInfo with encoder_class="):
        encoder_info(NAME)
