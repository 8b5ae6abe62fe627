"""Tensors of torch.save whose archive is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.pt import read_tensors


@pytest.mark.parametrize("magic", [b"PK\1\2", b"PK\5\6"])
@pytest.mark.parametrize("byte", range(0, 60, 7))
def test_a_damaged_directory_of_the_archive_is_a_sentence(magic: bytes, byte: int, tmp_path: Path) -> None:
    torch.save(torch.arange(6.0), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    at = whole.rindex(magic) + byte  # of its last entry, and of its end
    (tmp_path / "t.pt").write_bytes(whole[:at] + b"\xff" * 4 + whole[at + 4 :])
    try:
        values = read_tensors(tmp_path / "t.pt")
    except InvalidInputError:
        return
    assert isinstance(values, np.ndarray)
    assert values.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_name_in_the_archive_that_is_no_text(tmp_path: Path) -> None:
    torch.save(torch.arange(6.0), tmp_path / "t.pt")
    whole = bytearray((tmp_path / "t.pt").read_bytes())
    at = whole.rindex(b"PK\1\2")
    whole[at + 8 : at + 10] = (0x800).to_bytes(2, "little")  # its name is UTF-8
    whole[at + 46] = 0xFF
    (tmp_path / "t.pt").write_bytes(whole)
    with pytest.raises(InvalidInputError, match=r"t\.pt cannot be read as a tensor .*save one plain tensor"):
        read_tensors(tmp_path / "t.pt")
