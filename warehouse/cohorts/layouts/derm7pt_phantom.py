"""Draws a cohort of made-up skin lesions in the layout of Derm7pt, so that everything runs without patients' data.

Each lesion has a hidden state: how strongly it shows each of the seven criteria, and its kind (the diagnosis). The
dermoscopic picture shows the state clearly. The clinical photograph shows it with noise added, smaller, blurred, under
uneven light and through hair. So dermoscopy tells the classes better, and knows something that the photograph does not:
what guidance needs. Nothing here resembles disease closely enough to learn medicine from.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError
from guidestore.warehouse.cohorts.cohort import CohortTables
from guidestore.warehouse.cohorts.layout import Layout, Reading
from guidestore.warehouse.cohorts.layouts.derm7pt import CLASSES, INDEX_FILES, PHANTOM, TARGET_COLUMNS, Derm7pt

VALUE_COUNTS: Mapping[str, Mapping[str, int]] = {
    "diagnosis": {
        "basal cell carcinoma": 42,
        "blue nevus": 28,
        "clark nevus": 399,
        "combined nevus": 13,
        "congenital nevus": 17,
        "dermal nevus": 33,
        "recurrent nevus": 6,
        "reed or spitz nevus": 79,
        "melanoma": 1,
        "melanoma (in situ)": 64,
        "melanoma (less than 0.76 mm)": 102,
        "melanoma (0.76 to 1.5 mm)": 53,
        "melanoma (more than 1.5 mm)": 28,
        "melanoma metastasis": 4,
        "dermatofibroma": 20,
        "lentigo": 24,
        "melanosis": 16,
        "miscellaneous": 8,
        "vascular lesion": 29,
        "seborrheic keratosis": 45,
    },
    "vascular_structures": {
        "arborizing": 31,
        "comma": 23,
        "hairpin": 15,
        "within regression": 46,
        "wreath": 2,
        "dotted": 53,
        "linear irregular": 18,
    },
    "pigmentation": {
        "diffuse regular": 115,
        "localized regular": 3,
        "diffuse irregular": 265,
        "localized irregular": 40,
    },
    "regression_structures": {"blue areas": 116, "white areas": 38, "combinations": 99},
}
"""How often each value occurs in the 1,011 cases (Kawahara et al. 2019, table 1)."""

CLASS_COUNTS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "PN": {"BCC": (40, 1, 1), "NEV": (161, 328, 86), "MEL": (106, 20, 126), "MISC": (62, 26, 9), "SK": (31, 6, 8)},
    "BWV": {"BCC": (36, 6), "NEV": (503, 72), "MEL": (157, 95), "MISC": (83, 14), "SK": (37, 8)},
    "VS": {"BCC": (12, 28, 2), "NEV": (516, 43, 16), "MEL": (186, 22, 44), "MISC": (74, 17, 6), "SK": (35, 7, 3)},
    "PIG": {"BCC": (33, 1, 8), "NEV": (375, 92, 108), "MEL": (84, 8, 160), "MISC": (67, 12, 18), "SK": (29, 5, 11)},
    "STR": {"BCC": (40, 1, 1), "NEV": (379, 92, 104), "MEL": (106, 7, 139), "MISC": (88, 5, 4), "SK": (40, 2, 3)},
    "DaG": {"BCC": (22, 4, 16), "NEV": (85, 275, 215), "MEL": (38, 32, 182), "MISC": (62, 16, 19), "SK": (22, 7, 16)},
    "RS": {"BCC": (36, 6), "NEV": (482, 93), "MEL": (133, 119), "MISC": (69, 28), "SK": (38, 7)},
}
"""Criterion -> diagnosis -> cases of each class, in the order of `CLASSES`.

The sums over the diagnoses are those of the real 1,011 cases (Kawahara et al. 2019, table 1: PN 400 / 381 / 230, BWV
816 / 195, VS 823 / 117 / 71, PIG 588 / 118 / 305, STR 653 / 107 / 251, DaG 229 / 334 / 448, RS 758 / 253); how they
divide among the diagnoses is made up.
"""

PART_SIZES: Mapping[str, int] = {"train": 413, "val": 203, "test": 395}
"""Cases in the parts of the published split."""

COLUMNS = (
    "case_num",
    "diagnosis",
    "seven_point_score",
    "pigment_network",
    "streaks",
    "pigmentation",
    "regression_structures",
    "dots_and_globules",
    "blue_whitish_veil",
    "vascular_structures",
    "level_of_diagnostic_difficulty",
    "elevation",
    "location",
    "sex",
    "management",
    "clinic",
    "derm",
    "case_id",
    "notes",
)
"""Of meta.csv, in the real order."""

OTHER_VALUES: Mapping[str, tuple[str, ...]] = {
    "level_of_diagnostic_difficulty": ("low", "medium", "high"),
    "elevation": ("flat", "palpable", "nodular"),
    "location": ("abdomen", "acral", "back", "buttocks", "chest", "head neck", "lower limbs", "upper limbs"),
    "sex": ("female", "male"),
    "management": ("excision", "clinical follow up", "no further examination"),
}
"""Columns that nothing here depends on, drawn at random."""

POINTS: Mapping[tuple[str, str], int] = {
    ("PN", "ATP"): 2,
    ("BWV", "PRS"): 2,
    ("VS", "IR"): 2,
    ("PIG", "IR"): 1,
    ("STR", "IR"): 1,
    ("DaG", "IR"): 1,
    ("RS", "PRS"): 1,
}
"""For the column seven_point_score; `heads.seven_point` has them too, which nothing here may import."""

MIN_CASES = 20
MIN_PER_DIAGNOSIS = 3
"""One for each part."""

STATE_SD = 0.18
"""Of each strength of the hidden state within a class; between classes lie 0.6 to 1."""

CLINICAL_NOISE_SD = 0.3
"""Of what is added to the strengths before the photograph shows them."""

JPEG_QUALITY = 90

SKIN_RGB = (224, 178, 152)
MELANIN_OD = (0.42, 0.72, 0.95)
BLOOD_OD = (0.10, 0.62, 0.48)
"""Optical density (natural logarithm) of unit melanin and unit blood in red, green, blue: brown, and red."""

VEIL_RGB = (92, 104, 140)
SCAR_RGB = (226, 200, 192)
GRANULES_RGB = (128, 132, 148)
CYST_RGB = (240, 222, 186)
HAIR_RGB = (48, 34, 28)


class Derm7ptPhantom(Layout):
    """A generated cohort in Derm7pt's layout whose dermoscopy tells more than its photographs: to try things out.

    $ guidestore cohort add derm7pt-phantom skin --images skin-images
    """

    images: Path = Field(description="Folder to generate the files in.")
    cases: int = Field(default=200, ge=MIN_CASES, description="How many cases.")
    seed: int = Field(default=0, ge=0, description="Same seed, same pixels.")

    def read(self, reading: Reading) -> CohortTables:
        generate_derm7pt_phantom(self.images, cases=self.cases, seed=self.seed)
        return Derm7pt(source=self.images).read(reading)


def generate_derm7pt_phantom(
    directory: str | Path, *, cases: int = 200, seed: int = 0, image_px: tuple[int, int] = (768, 512)
) -> None:
    """Writes a cohort of `cases` lesions in Derm7pt's layout into the new or empty folder `directory`.

    ``images/<letters>/<name>.jpg``, two per case; ``meta/meta.csv`` with the real columns and values; and
    ``meta/{train,valid,test}_indexes.csv`` in the published proportions, stratified by diagnosis. As in the release, a
    path differs from the file's in the case of a letter (one lesion in 40), and a row names its dermoscopic file twice
    (one in 112: nine of 1,011); a small cohort has one of each. case_num is PHANTOM_0001 and so on. The same arguments
    give the same pixels; another seed gives other cases.

    image_px: width and height, even numbers, at least 128. Raises InvalidInputError for fewer than 20 cases, another
    image_px, and a folder that already holds something.
    """
    directory = Path(directory)
    if not MIN_CASES <= cases <= 9999:
        raise InvalidInputError(f"a phantom cohort of {cases} lesions cannot be drawn; ask for {MIN_CASES} to 9,999")
    if min(image_px) < 128 or image_px[0] % 2 or image_px[1] % 2:
        raise InvalidInputError(f"image_px {image_px} must be two even numbers of at least 128")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidInputError(f"{directory} is not an empty folder; name a new one for the phantom cohort")
    rng = np.random.default_rng([seed, 0])
    lesions = _lesions(cases, rng)
    (directory / "meta").mkdir(parents=True)
    rows = []
    for number, lesion in enumerate(lesions, start=1):
        case_rng = np.random.default_rng([seed, number])
        letter = chr(ord("A") + number // 400)
        names = {"clinic": f"PC{letter}/Pc{letter.lower()}{number:04d}.jpg"}
        names["derm"] = f"PD{letter}/Pd{letter.lower()}{number:04d}.jpg"
        state = HiddenState.draw(lesion, case_rng)
        pictures = {"derm": draw_dermoscopy(state, case_rng, image_px)}
        if number % 112 == 9:
            names["clinic"] = names["derm"].upper()
        else:
            pictures["clinic"] = draw_clinical(state, case_rng, image_px)
        for column, picture in pictures.items():
            path = directory / "images" / names[column]
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=JPEG_QUALITY)
        if number % 40 == 7:
            folder, _, name = names["clinic"].partition("/")
            names["clinic"] = f"{folder[:-1]}{folder[-1].lower()}/{name}"
        rows.append(_meta_row(number, lesion, names, case_rng))
    _write(directory / "meta" / "meta.csv", COLUMNS, rows)
    parts = _parts([lesion["DIAG"] for lesion in lesions], rng)
    for part, file in INDEX_FILES.items():
        _write(directory / "meta" / file, ["indexes"], [[i] for i, name in enumerate(parts) if name == part])


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _shared_out(total: int, weights: Sequence[float], least: int = 0) -> list[int]:
    """`total` in whole shares about proportional to the weights, each at least `least`; largest remainders first."""
    exact = np.asarray(weights) * (total / sum(weights))
    shares = np.maximum(np.floor(exact).astype(int), least)
    for index in np.argsort(shares - exact, kind="stable").tolist() * 2:
        shares[index] += shares.sum() < total
    while shares.sum() > total:
        shares[shares.argmax()] -= 1
    return shares.tolist()


def _lesions(cases: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Target -> class of each lesion, with the shares of `CLASS_COUNTS`."""
    sizes = [sum(counts) for counts in CLASS_COUNTS["PN"].values()]
    lesions = []
    for diagnosis, count in zip(CLASSES["DIAG"], _shared_out(cases, sizes, MIN_PER_DIAGNOSIS), strict=True):
        columns: dict[str, list[str]] = {"DIAG": [diagnosis] * count}
        for target, counts in CLASS_COUNTS.items():
            shares = _shared_out(count, counts[diagnosis])
            names = np.repeat(list(CLASSES[target]), shares)
            columns[target] = rng.permutation(names).tolist()
        lesions += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [lesions[index] for index in rng.permutation(cases)]


def _parts(diagnoses: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The part of each case, each diagnosis divided in the published proportions."""
    parts = [""] * len(diagnoses)
    for diagnosis in CLASSES["DIAG"]:
        indexes = rng.permutation([i for i, name in enumerate(diagnoses) if name == diagnosis]).tolist()
        sizes = _shared_out(len(indexes), list(PART_SIZES.values()), 1)
        for index, part in zip(indexes, np.repeat(list(PART_SIZES), sizes).tolist(), strict=True):
            parts[index] = part
    return parts


def _meta_row(
    number: int, lesion: Mapping[str, str], names: Mapping[str, str], rng: np.random.Generator
) -> list[object]:
    row: dict[str, object] = {"case_num": f"{PHANTOM}{number:04d}", "case_id": "", "notes": "", **names}
    row["seven_point_score"] = sum(POINTS.get(item, 0) for item in lesion.items())
    for target, column in TARGET_COLUMNS.items():
        values = CLASSES[target][lesion[target]]
        counts = np.array([VALUE_COUNTS.get(column, {}).get(value, int(len(values) == 1)) for value in values])
        row[column] = values[rng.choice(len(values), p=counts / counts.sum())]
    row |= {column: values[rng.integers(len(values))] for column, values in OTHER_VALUES.items()}
    return [row[column] for column in COLUMNS]


@dataclass(frozen=True, slots=True)
class HiddenState:
    """What a lesion is, beneath both pictures; strengths are about 0 to 1."""

    diagnosis: str
    strengths: Mapping[str, float]
    """``PN.TYP``, ``PN.ATP``, … one for each class that is not ABS."""
    asymmetry: float
    """Of outline and colour."""
    pigment: float
    """Melanin of the whole body of the lesion."""
    redness: float
    scale: float
    """Radius as a share of the usual."""
    shape: tuple[tuple[float, float], ...]
    """Amplitude and phase of the harmonics of the outline."""

    @classmethod
    def draw(cls, lesion: Mapping[str, str], rng: np.random.Generator) -> HiddenState:
        """The state of a lesion of these classes."""
        strengths = {
            f"{target}.{name}": max(0.0, rng.normal(0.85 if lesion[target] == name else 0.04, STATE_SD))
            for target in CLASS_COUNTS
            for name in CLASSES[target]
            if name != "ABS"
        }
        diagnosis = lesion["DIAG"]
        asymmetry = max(0.0, rng.normal({"MEL": 0.8, "NEV": 0.15}.get(diagnosis, 0.4), 0.15))
        pigment = {"NEV": 0.75, "MEL": 0.95, "BCC": 0.15, "MISC": 0.35, "SK": 0.6}[diagnosis]
        redness = {"NEV": 0.1, "MEL": 0.25, "BCC": 0.65, "MISC": 0.5, "SK": 0.1}[diagnosis]
        harmonics = [
            (rng.normal(0, 0.03 + 0.1 * asymmetry / order), rng.uniform(0, 2 * math.pi)) for order in range(2, 7)
        ]
        return cls(
            diagnosis,
            strengths,
            asymmetry,
            max(0.05, rng.normal(pigment, 0.12)),
            max(0.0, rng.normal(redness, 0.1)),
            rng.normal({"MEL": 1.12, "NEV": 0.95}.get(diagnosis, 1.0), 0.08),
            tuple((float(amplitude), float(phase)) for amplitude, phase in harmonics),
        )

    def seen_with_noise(self, rng: np.random.Generator, sd: float) -> HiddenState:
        """The state as a worse view shows it."""
        noisy = {name: max(0.0, value + rng.normal(0, sd)) for name, value in self.strengths.items()}
        return HiddenState(
            self.diagnosis,
            noisy,
            max(0.0, self.asymmetry + rng.normal(0, sd)),
            max(0.05, self.pigment + rng.normal(0, 0.6 * sd)),
            max(0.0, self.redness + rng.normal(0, 0.6 * sd)),
            self.scale * math.exp(rng.normal(0, 0.5 * sd)),
            self.shape,
        )


def draw_dermoscopy(
    state: HiddenState, rng: np.random.Generator, image_px: tuple[int, int] = (768, 512)
) -> Image.Image:
    """An RGB picture of image_px (width, height): the lesion fills it, under even light and contact fluid."""
    size = (image_px[0] // 2, image_px[1] // 2)
    rgb_chw = _skin(size, rng, grain=0.012)
    frame = Frame.of(size, size[1] * 0.36 * state.scale, state, rng, shift=0.05)
    _paint(rgb_chw, frame, state, rng, detail=1.0)
    if rng.random() < 0.4:
        _paint_hairs(rgb_chw, size, rng, count=int(rng.integers(1, 7)), width=1.6)
    if rng.random() < 0.3:
        x, y = frame.pixels()
        corner = np.hypot((x - size[0] / 2) / (0.58 * size[0]), (y - size[1] / 2) / (0.72 * size[1]))
        rgb_chw *= np.clip((1.0 - corner) * 30, 0, 1)  # The tube of the dermoscope.
    return _finished(rgb_chw, image_px, rng, blur_px=0.0)


def draw_clinical(state: HiddenState, rng: np.random.Generator, image_px: tuple[int, int] = (768, 512)) -> Image.Image:
    """An RGB photograph of image_px (width, height): the lesion from afar, noisily (`CLINICAL_NOISE_SD`)."""
    size = (image_px[0] // 2, image_px[1] // 2)
    seen = state.seen_with_noise(rng, CLINICAL_NOISE_SD)
    rgb_chw = _skin(size, rng, grain=0.025)
    frame = Frame.of(size, size[1] * 0.2 * seen.scale * rng.uniform(0.75, 1.25), seen, rng, shift=0.1)
    _paint(rgb_chw, frame, seen, rng, detail=0.6)
    _paint_hairs(rgb_chw, size, rng, count=int(rng.integers(0, 22)), width=1.0)
    x, y = frame.pixels()
    angle, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.3)
    light = 1 - slope * (math.cos(angle) * (x / size[0] - 0.5) + math.sin(angle) * (y / size[1] - 0.5))
    tint = np.exp(rng.normal(0, 0.025, 3)).astype(np.float32)  # Of the lamp.
    rgb_chw *= light * tint[:, None, None]
    return _finished(rgb_chw, image_px, rng, blur_px=float(rng.uniform(0.6, 2.0)))


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a lesion lies in a picture of half size."""

    size: tuple[int, int]
    """Width and height in pixels."""
    radius_px: float
    centre: tuple[float, float]
    turn: float
    distance: np.ndarray
    """(h, w) float32: 0 in the middle of the lesion, 1 on its outline."""
    angle: np.ndarray
    """(h, w) float32 radians about the middle."""

    @classmethod
    def of(
        cls, size: tuple[int, int], radius_px: float, state: HiddenState, rng: np.random.Generator, shift: float
    ) -> Frame:
        width, height = size
        centre = (width * (0.5 + rng.uniform(-shift, shift)), height * (0.5 + rng.uniform(-shift, shift)))
        turn = rng.uniform(0, 2 * math.pi)
        y, x = np.ogrid[:height, :width]
        dx, dy = (x - centre[0]).astype(np.float32), (y - centre[1]).astype(np.float32)
        angle = np.arctan2(dy, dx) + np.float32(turn)
        outline = np.ones_like(angle)
        for order, (amplitude, phase) in enumerate(state.shape, start=2):
            outline += np.float32(amplitude) * np.cos(order * angle + np.float32(phase))
        ragged = _smooth(size, radius_px * 0.22, rng) * np.float32(0.03 + 0.07 * state.asymmetry)
        return cls(
            size,
            radius_px,
            centre,
            turn,
            np.sqrt(dx * dx + dy * dy) / (np.float32(radius_px) * outline) + ragged,
            angle,
        )

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """(1, w) and (h, 1) float32."""
        y, x = np.ogrid[: self.size[1], : self.size[0]]
        return x.astype(np.float32), y.astype(np.float32)

    def place(self, distance: float, angle: float) -> tuple[float, float]:
        """x and y in pixels of a point `distance` radii from the middle."""
        return (
            self.centre[0] + distance * self.radius_px * math.cos(angle - self.turn),
            self.centre[1] + distance * self.radius_px * math.sin(angle - self.turn),
        )

    def within(self, distance: float, softness: float) -> np.ndarray:
        """(h, w): 1 nearer than `distance` radii, 0 farther, smooth over `softness` radii."""
        return np.clip((distance - self.distance) / np.float32(softness) + 0.5, 0, 1)

    def patch(self, rng: np.random.Generator, off: float, radius: float) -> np.ndarray:
        """(h, w): a soft cloud of `radius` radii, `off` radii from the middle."""
        x, y = self.pixels()
        at_x, at_y = self.place(off, rng.uniform(0, 2 * math.pi))
        unit = np.float32(radius * self.radius_px)
        away = np.sqrt(((x - np.float32(at_x)) / unit) ** 2 + ((y - np.float32(at_y)) / unit) ** 2)
        return np.clip(1.25 - away + 0.3 * _smooth(self.size, self.radius_px * 0.18, rng), 0, 1)


def _smooth(size: tuple[int, int], cell_px: float, rng: np.random.Generator) -> np.ndarray:
    """(h, w) float32 noise of about unit standard deviation whose blobs are `cell_px` wide."""
    cell_px = max(cell_px, 1.0)
    cells = rng.standard_normal((math.ceil(size[1] / cell_px) + 3, math.ceil(size[0] / cell_px) + 3), np.float32)
    box = (1.0, 1.0, 1.0 + size[0] / cell_px, 1.0 + size[1] / cell_px)
    picture = Image.fromarray(cells).resize(size, Image.Resampling.BILINEAR, box=box)
    return np.asarray(picture) * np.float32(1.5)  # Interpolation makes it smaller.


def _skin(size: tuple[int, int], rng: np.random.Generator, grain: float) -> np.ndarray:
    """(3, h, w) float32 RGB of bare skin."""
    tone = np.array(SKIN_RGB, np.float32) * np.exp(rng.normal(0, 0.06, 1) + rng.normal(0, 0.015, 3)).astype(np.float32)
    folds = 1 + np.float32(grain) * _smooth(size, 4, rng) + np.float32(0.02) * _smooth(size, size[1] / 4, rng)
    return tone[:, None, None] * folds


def _mix(rgb_chw: np.ndarray, rgb: tuple[int, int, int], share_hw: np.ndarray) -> None:
    for plane_hw, level in zip(rgb_chw, rgb, strict=True):
        plane_hw += share_hw * (np.float32(level) - plane_hw)


def _absorb(rgb_chw: np.ndarray, melanin_hw: np.ndarray, blood_hw: np.ndarray) -> None:
    for plane_hw, melanin, blood in zip(rgb_chw, MELANIN_OD, BLOOD_OD, strict=True):
        plane_hw *= np.exp(-melanin_hw * np.float32(melanin) - blood_hw * np.float32(blood))


def _paint(rgb_chw: np.ndarray, frame: Frame, state: HiddenState, rng: np.random.Generator, detail: float) -> None:
    """Paints the lesion onto the skin. detail: contrast of structures finer than a tenth of the lesion."""
    body = frame.within(1.0, 0.06 if state.diagnosis == "SK" else 0.22)
    lean = np.cos(frame.angle + np.float32(rng.uniform(0, 2 * math.pi))) * np.minimum(frame.distance, 1)
    cloud = _smooth(frame.size, frame.radius_px * 0.35, rng)
    uneven = 1 + np.float32(0.5 * state.asymmetry) * lean + np.float32(0.08 + 0.2 * state.asymmetry) * cloud
    melanin = np.float32(state.pigment) * body * np.clip(uneven, 0.1, 2)
    blood = np.float32(state.redness) * body * np.clip(1 + 0.25 * cloud, 0.2, 2)
    melanin += _blotches(frame, state, rng)
    melanin += np.float32(detail) * (_network(frame, state, rng) * body + _streaks(frame, state, rng))
    melanin += np.float32(1.3 * detail) * _globules(frame, state, rng)
    blood += np.float32(1.6 * detail) * _vessels(frame, state, rng)
    if state.diagnosis == "MISC":  # Red lakes of a vascular lesion, or so.
        blood += np.float32(0.7) * _discs(frame, rng, count=14, reach=0.75, radius=(0.08, 0.16))
    _absorb(rgb_chw, melanin, blood)
    _regress(rgb_chw, frame, state, rng)
    if state.diagnosis == "SK":  # Milia-like cysts, and plugs of keratin.
        _mix(rgb_chw, CYST_RGB, np.float32(0.75 * detail) * _discs(frame, rng, 22, 0.85, (0.025, 0.05)))
    if state.diagnosis == "BCC":  # Ovoid nests.
        _mix(rgb_chw, GRANULES_RGB, np.float32(0.55 * detail) * _discs(frame, rng, 6, 0.8, (0.07, 0.13)))
    veil = np.float32(min(0.85, state.strengths["BWV.PRS"])) * frame.patch(rng, 0.25, 0.55) * body
    _mix(rgb_chw, VEIL_RGB, np.float32(0.9) * veil)


def _blotches(frame: Frame, state: HiddenState, rng: np.random.Generator) -> np.ndarray:
    """Melanin of pigmentation: REG an even dark centre, IR patches off the centre."""
    regular = np.float32(0.6 * state.strengths["PIG.REG"]) * frame.within(0.6, 0.5)
    strength = np.float32(0.8 * state.strengths["PIG.IR"])
    patches = np.maximum(frame.patch(rng, 0.55, 0.3), frame.patch(rng, 0.75, 0.22))
    return regular + strength * patches * frame.within(1.0, 0.1)


def _network(frame: Frame, state: HiddenState, rng: np.random.Generator) -> np.ndarray:
    """Melanin of the pigment network: lines about pale holes, even (TYP), or of uneven width, mesh and reach (ATP)."""
    regular, irregular = state.strengths["PN.TYP"], state.strengths["PN.ATP"]
    warp = np.float32(0.5 + 1.6 * min(irregular, 1.0))
    x, y = frame.pixels()
    step = np.float32(2 * math.pi / (frame.radius_px * (0.115 + 0.035 * min(irregular, 1.0))))
    mesh = frame.radius_px * 0.2
    x = step * x + warp * _smooth(frame.size, mesh, rng)
    y = step * y + warp * _smooth(frame.size, mesh, rng)
    half = np.float32(math.sqrt(3) / 2) * y
    waves = np.cos(x) + np.cos(0.5 * x + half) + np.cos(0.5 * x - half)
    even = np.clip(0.45 - 0.5 * waves, 0, 1) * np.float32(0.65 * regular) * np.clip(1.3 - frame.distance, 0, 1)
    islands = np.clip(0.4 + 0.8 * _smooth(frame.size, frame.radius_px * 0.4, rng), 0, 1)
    thick = np.clip(0.8 - 0.75 * waves, 0, 1) * np.float32(1.05 * irregular) * islands
    return even + thick


def _streaks(frame: Frame, state: HiddenState, rng: np.random.Generator) -> np.ndarray:
    """Melanin of radial lines at the rim: all round and alike (REG), or in sectors and of differing length (IR)."""
    count = int(rng.integers(26, 34))
    rays = np.clip(3 * np.cos(count * frame.angle + 0.5 * _smooth(frame.size, 12, rng)) - 1.2, 0, 1)
    wide = _smooth(frame.size, frame.radius_px * 0.5, rng)
    sector = np.clip(0.3 + 1.2 * np.cos(frame.angle + np.float32(rng.uniform(0, 2 * math.pi))) + 0.5 * wide, 0, 1)
    regular = np.clip((0.14 - np.abs(frame.distance - 1)) * 12, 0, 1)
    irregular = np.clip((0.18 + 0.08 * wide - np.abs(frame.distance - 1)) * 10, 0, 1) * sector
    even, uneven = np.float32(0.9 * state.strengths["STR.REG"]), np.float32(1.3 * state.strengths["STR.IR"])
    return rays * (even * regular + uneven * irregular)


def _canvas(frame: Frame) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Twice the frame's size, because PIL draws without smoothing."""
    picture = Image.new("L", (2 * frame.size[0], 2 * frame.size[1]))
    return picture, ImageDraw.Draw(picture)


def _drawn(picture: Image.Image) -> np.ndarray:
    """(h, w) float32, 0 to 1."""
    return np.asarray(picture.reduce(2), np.float32) / 255


def _dot(draw: ImageDraw.ImageDraw, at: tuple[float, float], radius_px: float, level: float) -> None:
    x, y = 2 * at[0], 2 * at[1]
    radius = 2 * radius_px
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(255 * min(level, 1.0)))


def _discs(frame: Frame, rng: np.random.Generator, count: int, reach: float, radius: tuple[float, float]) -> np.ndarray:
    """(h, w): `count` discs of `radius` radii, evenly spread within `reach` radii."""
    picture, draw = _canvas(frame)
    for _ in range(count):
        at = frame.place(reach * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi))
        _dot(draw, at, frame.radius_px * rng.uniform(*radius), rng.uniform(0.6, 1.0))
    return _drawn(picture)


def _globules(frame: Frame, state: HiddenState, rng: np.random.Generator) -> np.ndarray:
    """Dots and globules: of one size all over (REG), or of many sizes in clusters (IR)."""
    picture, draw = _canvas(frame)
    regular, irregular = state.strengths["DaG.REG"], state.strengths["DaG.IR"]
    for index in range(round(70 * min(regular, 1.0))):
        # Sunflower seeds: even spacing without a grid.
        at = frame.place(0.95 * math.sqrt((index + 0.5) / 70) + rng.normal(0, 0.02), index * 2.39996)
        _dot(draw, at, 0.028 * frame.radius_px, 0.55 * regular)
    for _ in range(3):
        middle, angle = rng.uniform(0.3, 1.0), rng.uniform(0, 2 * math.pi)
        for _ in range(round(14 * min(irregular, 1.0))):
            at = frame.place(middle + rng.normal(0, 0.16), angle + rng.normal(0, 0.3))
            _dot(draw, at, frame.radius_px * math.exp(rng.normal(-3.2, 0.5)), irregular * rng.uniform(0.5, 1.0))
    return _drawn(picture)


def _vessels(frame: Frame, state: HiddenState, rng: np.random.Generator) -> np.ndarray:
    """Blood in vessels: branching trees (REG), or dots and short wriggling lines (IR)."""
    picture, draw = _canvas(frame)
    regular, irregular = state.strengths["VS.REG"], state.strengths["VS.IR"]
    width = max(1.0, frame.radius_px * 0.045)
    for _ in range(round(5 * min(regular, 1.0))):
        start = frame.place(0.95, rng.uniform(0, 2 * math.pi))
        heading = math.atan2(frame.centre[1] - start[1], frame.centre[0] - start[0]) + rng.normal(0, 0.4)
        _branch(draw, rng, start, heading, frame.radius_px * 0.5, width, level=regular, forks=2)
    for _ in range(round(45 * min(irregular, 1.0))):
        at = frame.place(0.9 * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi))
        _dot(draw, at, 0.4 * width, irregular)
    for _ in range(round(12 * min(irregular, 1.0))):
        at = frame.place(0.9 * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi))
        _branch(draw, rng, at, rng.uniform(0, 2 * math.pi), frame.radius_px * 0.2, 0.6 * width, irregular, forks=0)
    return _drawn(picture)


def _branch(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    start: tuple[float, float],
    heading: float,
    length_px: float,
    width_px: float,
    level: float,
    forks: int,
) -> None:
    """A wriggling line, which forks at its end `forks` times over."""
    points = [start]
    for _ in range(6):
        heading += rng.normal(0, 0.35)
        x, y = points[-1]
        points.append((x + length_px / 6 * math.cos(heading), y + length_px / 6 * math.sin(heading)))
    doubled = [(2 * x, 2 * y) for x, y in points]
    draw.line(doubled, fill=int(255 * min(level, 1.0)), width=max(1, round(2 * width_px)), joint="curve")
    if forks:
        for side in (-0.5, 0.5):
            _branch(draw, rng, points[-1], heading + side, 0.6 * length_px, 0.65 * width_px, level, forks - 1)


def _regress(rgb_chw: np.ndarray, frame: Frame, state: HiddenState, rng: np.random.Generator) -> None:
    """Scar-like white, and blue-grey granules upon it."""
    strength = min(1.0, state.strengths["RS.PRS"])
    area = frame.patch(rng, 0.5, 0.4) * frame.within(1.0, 0.15)
    _mix(rgb_chw, SCAR_RGB, np.float32(0.8 * strength) * area)
    pepper = np.clip(1.5 * _smooth(frame.size, max(1.5, frame.radius_px * 0.03), rng) - 0.7, 0, 1)
    _mix(rgb_chw, GRANULES_RGB, np.float32(0.8 * strength) * area * pepper)


def _paint_hairs(
    rgb_chw: np.ndarray, size: tuple[int, int], rng: np.random.Generator, count: int, width: float
) -> None:
    picture = Image.new("L", (2 * size[0], 2 * size[1]))
    draw = ImageDraw.Draw(picture)
    along = rng.uniform(0, 2 * math.pi)  # Hairs of a place lie about parallel.
    for _ in range(count):
        x, y = rng.uniform(0, 2 * size[0]), rng.uniform(0, 2 * size[1])
        angle, bend = along + rng.normal(0, 0.5), rng.normal(0, 0.08)
        points = [(x, y)]
        for _ in range(10):
            x, y = x + 0.05 * size[0] * math.cos(angle), y + 0.05 * size[0] * math.sin(angle)
            angle += bend
            points.append((x, y))
        draw.line(points, fill=int(rng.uniform(120, 230)), width=max(1, round(width * rng.uniform(0.7, 1.8))))
    _mix(rgb_chw, HAIR_RGB, _drawn(picture))


def _finished(rgb_chw: np.ndarray, image_px: tuple[int, int], rng: np.random.Generator, blur_px: float) -> Image.Image:
    """The picture at full size, with the noise of a sensor."""
    rgb_chw += 3 * rng.standard_normal(rgb_chw.shape[1:], np.float32)
    np.clip(rgb_chw, 0, 255, out=rgb_chw)
    picture = Image.merge("RGB", [Image.fromarray(plane_hw.astype(np.uint8)) for plane_hw in rgb_chw])
    if blur_px:
        picture = picture.filter(ImageFilter.BoxBlur(blur_px))
    return picture.resize(image_px, Image.Resampling.BILINEAR)
