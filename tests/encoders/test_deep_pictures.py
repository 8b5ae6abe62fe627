"""Photographs of more than 8 bits against the same picture in 8 bits, as numpy rounds it."""

from __future__ import annotations

import struct
import zlib
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


def with_chunk(png: bytes, name: bytes, data: bytes) -> bytes:
    """The PNG with another chunk after its header."""
    return png[:33] + struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) + png[33:]


@pytest.mark.parametrize(("bits", "share"), [(10, 1), (12, 1), (14, 1), (14, 5), (12, 3)])
def test_the_sbit_of_a_png_is_of_values_scaled_up_or_left_as_they_are(tmp_path: Path, bits: int, share: int):
    values = (ramp(bits) // share).astype(np.uint16)
    scaled = (values.astype(np.int64) * 65535 // (2**bits - 1)).astype(np.uint16)
    shifted = values << np.uint16(16 - bits)
    for name, written in {"scaled": scaled, "shifted": shifted, "left": values}.items():
        for channels in (1, 3):
            png = imagecodecs.png_encode(np.ascontiguousarray(written[..., :channels]).squeeze())
            (tmp_path / name).write_bytes(with_chunk(png, b"sBIT", bytes([bits] * channels)))
            assert close(tmp_path / name, values[..., :channels], bits), (name, channels)


def test_a_turned_deep_tiff_and_the_transparent_value_of_a_deep_png(tmp_path: Path):
    values = ramp(16)
    for orientation, turned in {6: np.rot90(values), 3: np.rot90(values, 2)}.items():
        wide = np.pad(turned, ((0, 0), (16, 16), (0, 0)), mode="edge") if orientation == 3 else turned[:, 8:-8]
        tag = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(tmp_path / "a.tif", wide, photometric="rgb", extratags=tag)
        tifffile.imwrite(tmp_path / "b.tif", np.round(wide / 257).astype(np.uint8), photometric="rgb", extratags=tag)
        deep, plain = (load_photograph(tmp_path / name, SMALL).astype(int) for name in ("a.tif", "b.tif"))
        assert np.abs(deep - plain).max() <= 2
    grey = np.ascontiguousarray(values[..., 0])
    grey[:20] = 5140
    key = struct.pack(">H", 5140)
    (tmp_path / "a.png").write_bytes(with_chunk(imagecodecs.png_encode(grey), b"tRNS", key))
    pixels = load_photograph(tmp_path / "a.png", SMALL)
    assert (pixels[:20] == 255).all()
    assert np.abs(pixels[20:].astype(int) - expected(values, 16)[20:, :, :1]).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_2000_of_12_bits_in_16_is_as_bright_as_8_bits(tmp_path: Path, channels: int):
    values = ramp(12, channels)
    for bits in (12, 16):
        content = imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(values.squeeze()), codecformat="jp2", bitspersample=bits, reversible=True, level=0
        )
        (tmp_path / "a.jp2").write_bytes(content)
        assert close(tmp_path / "a.jp2", values, 12)


def test_signed_values_that_tell_no_white_are_refused(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(15, 1).squeeze().astype(np.int16))
    signed = (ramp(12, 1).squeeze().astype(np.int16) - 2048).astype(np.int16)
    (tmp_path / "b.jp2").write_bytes(imagecodecs.jpeg2k_encode(signed, codecformat="jp2", reversible=True, level=0))
    for name in ("a.tif", "b.jp2"):
        with pytest.raises(InvalidInputError, match=rf"{name} has .*whose white is unknown"):
            load_photograph(tmp_path / name, SMALL)
    tifffile.imwrite(tmp_path / "c.tif", ramp(12, 1).squeeze().astype(np.int16))
    assert close(tmp_path / "c.tif", ramp(12, 1), 12)


def test_headers_that_claim_more_than_the_picture_are_refused_before_it_is_decoded(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(16), photometric="rgb", tile=(32, 32), compression="deflate")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        for name in ("TileWidth", "TileLength"):
            tiff.pages.first.tags[name].overwrite(65504)
    content = bytearray(imagecodecs.jpeg2k_encode(ramp(16), codecformat="jp2", reversible=True, level=0))
    size = content.index(b"\xff\x4f\xff\x51") + 8
    content[size : size + 8] = struct.pack(">2I", 60000, 60000)
    (tmp_path / "b.jp2").write_bytes(content)
    says = {"a.tif": "its tiles have 65504 x 65504", "b.jp2": "says 64 x 64 pixels, and 60000 x 60000 within"}
    for name, said in says.items():
        with pytest.raises(InvalidInputError, match=rf"{name} .*{said}"):
            load_photograph(tmp_path / name, SMALL)
