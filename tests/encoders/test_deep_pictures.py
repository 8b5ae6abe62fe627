"""Photographs of more than 8 bits against the same picture in 8 bits, as numpy rounds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.photograph_headers import photograph_pixels
from guidestore.encoders.photographs import PhotographSettings, load_photograph

SMALL = PhotographSettings(64)


def ramp(depth: int, channels: int = 3) -> np.ndarray:
    """(64, 64, channels) uint16 from black to white; square, so that nothing is cut off or resampled."""
    grey = np.linspace(0, 2**depth - 1, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    return np.stack([grey, grey[::-1], grey.T][:channels], axis=-1)


def expected(values: np.ndarray, depth: int) -> np.ndarray:
    eight = np.round(values / (2**depth - 1) * 255).astype(np.uint8)
    return np.broadcast_to(eight, (64, 64, 3))


def close(path: Path, values: np.ndarray, depth: int) -> bool:
    return int(np.abs(load_photograph(path, SMALL).astype(int) - expected(values, depth)).max()) <= 1


@pytest.mark.parametrize("depth", [10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_brightness_is_that_of_8_bits(tmp_path: Path, depth: int, channels: int):
    values = ramp(depth, channels)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values.squeeze()))
    options: dict[str, dict[str, Any]] = {
        "plain.tif": {},
        "big.tif": {"byteorder": ">"},
        "lzw.tif": {"compression": "lzw", "predictor": True},
        "tiled.tif": {"tile": (32, 32), "compression": "deflate"},
    }
    for name, option in options.items():
        photometric = "rgb" if channels == 3 else "minisblack"
        tifffile.imwrite(tmp_path / name, values.squeeze(), photometric=photometric, **option)
    if channels == 3:
        tifffile.imwrite(
            tmp_path / "planes.tif", np.moveaxis(values, -1, 0), photometric="rgb", planarconfig="separate"
        )
    else:
        inverse = 2**depth - 1 - values.squeeze()
        tifffile.imwrite(tmp_path / "inverse.tif", inverse, photometric="miniswhite")
    for path in sorted(tmp_path.iterdir()):
        assert close(path, values, depth), path


def test_a_depth_that_the_file_says_counts(tmp_path: Path):
    dark = (ramp(12) // 3).astype(np.uint16)  # 11 bits, which tell nothing
    tifffile.imwrite(tmp_path / "a.tif", dark, photometric="rgb", extratags=[(281, "H", 3, (4095, 4095, 4095), True)])
    tifffile.imwrite(tmp_path / "b.tif", dark[..., 0], bitspersample=12, photometric="minisblack")
    tifffile.imwrite(tmp_path / "c.tif", dark, photometric="rgb")
    assert close(tmp_path / "a.tif", dark, 12)
    assert close(tmp_path / "b.tif", dark[..., :1], 12)
    with pytest.raises(
        InvalidInputError, match=r"photograph .*c.tif holds values from 0 to 1365 .* which tell no white"
    ):
        load_photograph(tmp_path / "c.tif", SMALL)


def test_transparency_of_deep_pictures_is_laid_on_white(tmp_path: Path):
    opacity = np.full((64, 64, 1), 65535, np.uint16)
    opacity[:, :20] = 0
    values = np.concatenate([ramp(12), opacity], axis=2)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    tifffile.imwrite(tmp_path / "b.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    for name in ("a.png", "b.tif"):
        pixels = load_photograph(tmp_path / name, SMALL)
        assert (pixels[:, :20] == 255).all()
        assert np.abs(pixels[:, 20:].astype(int) - expected(ramp(12), 12)[:, 20:]).max() <= 1


@pytest.mark.parametrize("depth", [8, 16])
def test_black_white_and_transparent_pictures_show_nothing(tmp_path: Path, depth: int):
    kind: Any = np.uint16 if depth == 16 else np.uint8
    white = np.full((64, 64, 3), 2**depth - 1, kind)
    clear = np.concatenate([white // 2, np.zeros((64, 64, 1), kind)], axis=2)
    for name, values in {"black": white * 0, "white": white, "transparent": clear}.items():
        (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode(values))
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="rgb", extrasamples=[2] * (values.shape[2] - 3))
        for suffix in ("png", "tif"):
            with pytest.raises(
                InvalidInputError, match=rf"{name}.{suffix} is (all|wholly) {name}, so it shows nothing"
            ):
                load_photograph(tmp_path / f"{name}.{suffix}", SMALL)
    Image.new("L", (64, 64), 255).save(tmp_path / "white.jpg")
    with pytest.raises(InvalidInputError, match="is all white"):
        load_photograph(tmp_path / "white.jpg", SMALL)


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_the_row_of_a_picture_says_its_depth_and_its_white(tmp_path: Path, depth: int):
    tifffile.imwrite(tmp_path / "a.tif", ramp(depth), photometric="rgb")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(ramp(depth, 1).squeeze()))
    for path in tmp_path.iterdir():
        pixels = photograph_pixels(path)
        assert (pixels.bit_depth, pixels.scaling) == (depth, str(2**depth - 1))
    imagecodecs.imwrite(tmp_path / "a.png", ramp(8).astype(np.uint8))
    assert (photograph_pixels(tmp_path / "a.png").bit_depth, photograph_pixels(tmp_path / "a.png").scaling) == (8, None)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(ramp(16, 1).squeeze() // 40))
    with pytest.raises(InvalidInputError, match="tell no white"):
        photograph_pixels(tmp_path / "a.png")
