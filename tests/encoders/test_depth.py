"""Deep samples keep their brightness: each depth against the same picture of 8 bits."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.depth import declared_png_depth, declared_tiff_depth, to_8_bits, true_depth


@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_a_ramp_of_any_depth_is_the_ramp_of_8_bits(depth: int):
    white = 2**depth - 1
    ramp = np.linspace(0, white, 3000).round().astype(np.uint16).reshape(30, 100)
    assert true_depth(ramp, "it") == depth
    eight = to_8_bits(ramp, depth)
    assert eight.dtype == np.uint8
    assert eight.shape == ramp.shape
    assert np.array_equal(eight, np.floor(ramp / white * 255 + 0.5).astype(np.uint8))


@pytest.mark.parametrize(
    ("largest", "depth"), [(4095, 12), (2100, 12), (255, 8), (700, 10), (40_000, 16), (20_000, 16)]
)
def test_the_largest_value_tells_the_depth(largest: int, depth: int):
    assert true_depth(np.arange(largest + 1, dtype=np.uint16), "it") == depth


@pytest.mark.parametrize("largest", [1, 100, 300, 1500, 5000])
def test_what_tells_no_white_is_refused_unless_the_file_says_it(largest: int):
    values = np.arange(largest + 1, dtype=np.uint16)
    with pytest.raises(InvalidInputError, match=rf"photograph a.png holds values from 0 to {largest} .* tell no white"):
        true_depth(values, "photograph a.png")
    assert true_depth(values, "it", 14) == 14


def test_a_few_bright_letters_do_not_make_12_bits_16():
    values = np.arange(4096, dtype=np.uint16).repeat(4)
    values[:3] = 65535
    with pytest.raises(InvalidInputError, match="999 of 1,000 up to 40"):
        true_depth(values, "it")


def test_more_than_is_declared_is_refused_and_black_is_black():
    with pytest.raises(InvalidInputError, match="says that it has 12 bits and holds 4096"):
        true_depth(np.array([4096], np.uint16), "it", 12)
    assert not to_8_bits(np.zeros(9, np.uint16), true_depth(np.zeros(9, np.uint16), "it")).any()


def test_what_files_declare():
    assert declared_tiff_depth(12, None) == 12
    assert declared_tiff_depth(16, 4095) == 12
    assert declared_tiff_depth(16, None) is declared_tiff_depth(16, 65535) is declared_tiff_depth(8, 255 >> 3) is None
    assert declared_tiff_depth(16, 3000) is None  # the largest value of the picture, says the TIFF specification
    ome = '<OME><Pixels BigEndian="false" SignificantBits="14" SizeC="3"/></OME>'
    assert declared_tiff_depth(16, None, ome) == declared_tiff_depth(16, 4095, ome.encode()) == 14
    with io.BytesIO() as file:
        Image.fromarray(np.zeros((4, 4), np.uint16)).save(file, "PNG")
        plain = file.getvalue()
    with io.BytesIO() as file:
        PngImagePlugin.putchunk(file, b"sBIT", bytes([12]))
        chunk = file.getvalue()
    assert declared_png_depth(plain) is None
    assert declared_png_depth(plain[:33] + chunk + plain[33:]) == 12
    assert declared_png_depth(plain[:20]) is declared_png_depth(b"") is None
