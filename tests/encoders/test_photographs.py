"""Every kind of file a photograph comes in, and every way in which it can be broken."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.photographs import PhotographSettings, load_photograph

SMALL = PhotographSettings(64)
RED, WHITE, GREEN = (200, 30, 40), (255, 255, 255), (20, 180, 60)


def two_halves(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Red on the left, green on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(GREEN, (size[0] // 2, 0, *size))
    return picture.quantize() if mode == "P" else picture.convert(mode)


def close(pixel: np.ndarray, colour: tuple[int, int, int], by: int = 4) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= by)


def test_the_centre_square_comes_at_the_working_size(tmp_path: Path):
    picture = Image.new("RGB", (200, 100), "white")
    picture.paste(RED, (50, 0, 150, 100))
    picture.save(tmp_path / "wide.png")
    pixels_hwc = load_photograph(tmp_path / "wide.png", SMALL)
    assert (pixels_hwc.shape, pixels_hwc.dtype) == ((64, 64, 3), np.uint8)
    assert np.abs(pixels_hwc.astype(int) - RED).max() < 30  # Lanczos rings at the edge to white.
    assert close(pixels_hwc[:, 3:-3], RED)
    picture.rotate(90, expand=True).save(tmp_path / "tall.png")
    assert np.array_equal(load_photograph(tmp_path / "tall.png", SMALL), pixels_hwc.swapaxes(0, 1))
    assert load_photograph(tmp_path / "wide.png").shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("orientation", "left", "top"),
    [
        *((1, RED, None), (2, GREEN, None), (3, GREEN, None), (4, RED, None)),
        *((5, None, RED), (6, None, RED), (7, None, GREEN), (8, None, GREEN)),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_the_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int, left, top):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    two_halves().save(path, exif=exif)
    pixels_hwc = load_photograph(path, SMALL)
    assert close(pixels_hwc[32, 4] if left else pixels_hwc[4, 32], left or top, by=6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_colour_modes_become_rgb(tmp_path: Path, mode: str):
    path = tmp_path / ("picture.png" if mode in ("RGB", "RGBA", "P") else "picture.jpg")
    two_halves(mode).save(path, quality=95) if path.suffix == ".jpg" else two_halves(mode).save(path)
    pixels_hwc = load_photograph(path, SMALL)
    assert close(pixels_hwc[32, 4], RED, by=25)
    assert close(pixels_hwc[32, -4], GREEN, by=25)


def test_transparency_is_laid_on_white(tmp_path: Path):
    clear = two_halves("RGBA")
    clear.paste((9, 9, 9, 0), (0, 0, 48, 64))
    clear.save(tmp_path / "rgba.png")
    palette = two_halves("P")
    palette.save(tmp_path / "palette.png", transparency=palette.getpixel((0, 0)))
    two_halves("L").convert("LA").save(tmp_path / "la.png")
    for name in ("rgba", "palette"):
        assert close(load_photograph(tmp_path / f"{name}.png", SMALL)[32, 4], WHITE)
    assert np.ptp(load_photograph(tmp_path / "la.png", SMALL)[32, 4]) == 0


def test_grey_of_all_depths_keeps_its_brightness(tmp_path: Path):
    ramp = np.repeat(np.arange(64, dtype=np.uint16)[None], 64, axis=0) * 1040
    Image.fromarray(ramp).save(tmp_path / "16.png")
    Image.fromarray(ramp).save(tmp_path / "16.tif")
    Image.fromarray((ramp // 257).astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(ramp > 32768).save(tmp_path / "1.png")
    eight = load_photograph(tmp_path / "8.png", SMALL).astype(int)
    for name in ("16.png", "16.tif"):
        assert np.abs(load_photograph(tmp_path / name, SMALL) - eight).max() <= 1
    assert eight.max() == 254
    assert set(load_photograph(tmp_path / "1.png", SMALL).ravel().tolist()) == {0, 255}


def test_values_without_a_white_are_refused(tmp_path: Path):
    Image.fromarray(np.ones((64, 64), np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((64, 64), 1 << 20, np.int32)).save(tmp_path / "deep.tif")
    for name in ("float", "deep"):
        with pytest.raises(InvalidInputError, match=rf"{name}.tif has values of mode . from .* whose white is unknown"):
            load_photograph(tmp_path / f"{name}.tif", SMALL)
    tifffile.imwrite(tmp_path / "signed.tif", np.arange(-64, 64, dtype=np.int8).repeat(32).reshape(64, 64))
    with pytest.raises(InvalidInputError, match=r"signed.tif has signed values, whose white is unknown"):
        load_photograph(tmp_path / "signed.tif", SMALL)


def test_files_that_are_no_photographs_say_so_in_one_sentence(tmp_path: Path):
    whole = io.BytesIO()
    two_halves(size=(300, 200)).save(whole, "JPEG")
    two_halves(size=(300, 31)).save(tmp_path / "tiny.png")
    files = {
        "empty.jpg": (b"", r"is empty \(0 bytes\); copy the file again"),
        "text.jpg": (b"no picture at all", "is no image that Pillow knows; convert it"),
        "cut.jpg": (whole.getvalue()[:-600], r"cannot be read \(.*truncated.*\); it may be truncated: copy it again"),
        "head.jpg": (whole.getvalue()[:25], "is no image|cannot be read"),
        "tiny.png": (None, "has 300 x 31 pixels; its shorter edge must have at least 32: use the original"),
    }
    for name, (content, message) in files.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=message) as caught:
            load_photograph(path, SMALL)
        assert str(caught.value).startswith(f"photograph {path} ")
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidInputError, match=r"there is no photograph .*none.jpg; put the file in place"):
        load_photograph(tmp_path / "none.jpg")
    with pytest.raises(InvalidInputError, match=r"cannot be read \(.*directory"):
        load_photograph(tmp_path)


def test_a_picture_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    two_halves(size=(100, 100)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(InvalidInputError, match=r"huge.png is too large: Image size \(10000 pixels\) exceeds"):
        load_photograph(tmp_path / "huge.png")


@pytest.mark.filterwarnings("ignore")  # Pillow warns of broken metadata.
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP"])
def test_damaged_bytes_give_a_picture_or_a_sentence(tmp_path: Path, form: str):
    whole = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    two_halves(size=(90, 60)).save(whole, form, **({"exif": exif} if form in ("JPEG", "PNG", "TIFF") else {}))
    rng = random.Random(7)
    path = tmp_path / "damaged"
    for round_ in range(150):
        content = bytearray(whole.getvalue())
        for _ in range(rng.choice((1, 3, 20))):
            # Headers are where readers stumble.
            content[rng.randrange(min(len(content), 400 if round_ % 2 else len(content)))] = rng.randrange(256)
        path.write_bytes(content[: rng.randrange(10, len(content))] if round_ % 3 == 0 else content)
        try:
            outcome = str(load_photograph(path, SMALL).shape)
        except InvalidInputError as error:
            outcome = str(error)
        assert outcome == "(64, 64, 3)" or str(path) in outcome


def test_large_jpegs_are_drafted_with_hardly_a_difference(tmp_path: Path, test_data: Path):
    with Image.open(test_data / "skin" / "PAT_1516_1765_530.png") as picture:
        picture.convert("RGB").save(tmp_path / "drafted.jpg", quality=95)
    with Image.open(tmp_path / "drafted.jpg") as picture:
        picture.save(tmp_path / "whole.png")
    drafted, whole = (load_photograph(tmp_path / name, SMALL).astype(int) for name in ("drafted.jpg", "whole.png"))
    assert np.abs(drafted - whole).mean() < 0.5
    assert np.abs(drafted - whole).max() <= 4
    assert (drafted != whole).any()  # So it was drafted.


def test_real_photographs_of_skin(test_data: Path):
    for path in sorted((test_data / "skin").glob("*.png")):
        pixels_hwc = load_photograph(path)
        assert pixels_hwc.shape == (256, 256, 3)
        red, _, blue = pixels_hwc.reshape(-1, 3).mean(axis=0)
        assert red > blue + 10
        with Image.open(path) as picture:  # Square originals: the corners stay.
            assert close(
                pixels_hwc[:8, :8].mean(axis=(0, 1)), np.asarray(picture.convert("RGB"))[:12, :12].mean((0, 1)), 12
            )


def test_settings_are_checked_and_round_trip():
    assert PhotographSettings(**SMALL.as_dict()) == SMALL
    assert PhotographSettings().as_dict() == {"size_px": 256}
    for size_px in (31, 5000):
        with pytest.raises(InvalidInputError, match="must be from 32 to 4096"):
            PhotographSettings(size_px)


def taller(png: bytes) -> bytes:
    """The PNG, whose header now says 20 rows more, with the checksum made right."""
    header = png[12:20] + struct.pack(">I", int.from_bytes(png[20:24]) + 20) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def test_a_picture_that_lacks_rows_is_refused_and_one_that_ends_black_is_read(tmp_path: Path):
    colours = np.asarray(two_halves(size=(64, 64)))
    dark_end = colours.copy()
    dark_end[40:] = 0
    for name, values in {"grey": colours[..., 0], "rgb": colours, "deep": colours[..., 0] * np.uint16(257)}.items():
        (tmp_path / f"{name}.png").write_bytes(taller(imagecodecs.png_encode(np.ascontiguousarray(values))))
    for name, kind in {"rgb": np.uint8, "deep": np.uint16}.items():
        for rows in (16, 64):
            path = tmp_path / f"{name}{rows}.tif"
            tifffile.imwrite(path, (colours * kind(1 if name == "rgb" else 257)), photometric="rgb", rowsperstrip=rows)
            with tifffile.TiffFile(path, mode="r+b") as tiff:
                tiff.pages.first.tags["ImageLength"].overwrite(84)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(
            InvalidInputError, match=rf"{path.name} (holds fewer rows than the 84|cannot be read .*failed to)"
        ):
            load_photograph(path, SMALL)
    (tmp_path / "whole.png").write_bytes(imagecodecs.png_encode(dark_end))
    tifffile.imwrite(tmp_path / "whole.tif", dark_end, photometric="rgb", tile=(32, 48))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 1)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in dark_end[y::dy, x::dx])
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    (tmp_path / "interlaced.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    for name in ("whole.png", "whole.tif", "interlaced.png"):
        assert np.array_equal(load_photograph(tmp_path / name, SMALL), dark_end)


def test_an_avif_is_no_heic(tmp_path: Path):
    two_halves().save(tmp_path / "a.jpg", "AVIF", quality=95)  # its brands are avif and mif1
    pixels_hwc = load_photograph(tmp_path / "a.jpg", SMALL)
    assert close(pixels_hwc[32, 4], RED, by=8)
    assert close(pixels_hwc[32, -4], GREEN, by=8)


def test_what_lies_in_place_of_a_picture_is_named_with_a_way_on(tmp_path: Path):
    whole = io.BytesIO()
    two_halves("CMYK").save(whole, "JPEG")
    mark = whole.getvalue().index(b"\xff\xee")
    files = {
        "cmyk": (whole.getvalue()[:mark] + whole.getvalue()[mark + 16 :], "without Adobe's mark, .* convert it to RGB"),
        "login": (b"\n<!DOCTYPE HTML>\n<html>", "is a web page, as one that asks to sign in; download it again"),
        "lfs": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a",
            "is a pointer of git-lfs .*git lfs pull",
        ),
        "._a": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(100), "what macOS keeps beside a file"),
        "gz": (gzip.compress(b"\x89PNG\r\n\x1a\n"), "is compressed by gzip; unpack it"),
        "volume": (gzip.compress(bytes(344) + b"n+1\0"), "is a NIfTI file, and is no image that Pillow knows"),
        "dicom": (b"II*\0" + bytes(124) + b"DICM" + bytes(100), "is DICOM, which is not read as a picture; .*PNG"),
        "cut": (b"\x89PNG\r\n\x1a\n" + bytes(30), "is PNG of a kind that Pillow does not know, or its header is dam"),
    }
    for name, (content, _) in files.items():
        (tmp_path / name).write_bytes(content)
    two_halves().save(tmp_path / "tga", "TGA")
    with tifffile.TiffWriter(tmp_path / "raw") as tiff:
        for subfile, edge in ((1, 64), (0, 128)):
            tiff.write(np.asarray(two_halves(size=(edge, edge))), photometric="rgb", subfiletype=subfile)
    says = {name: said for name, (_, said) in files.items()}
    says |= {"tga": "is TGA, which is not read here", "raw": "begins with a thumbnail, as raw files of cameras do"}
    for name, said in says.items():
        with pytest.raises(InvalidInputError, match=rf"photograph .*{name} .*{said}"):
            load_photograph(tmp_path / name, SMALL)
