"""Draws a cohort of made-up glioma cases as real files, so that everything runs end to end without patients' data.

Each case has a hidden state h of three numbers, which depends on its class. The slide shows h clearly; the MRI shows
h with noise added. So the slide tells the class better than the MRI does, and knows something that the MRI does not:
what guidance needs. Nothing here resembles disease closely enough to learn medicine from.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError
from guidestore.warehouse.cohorts.cohort import CohortTables, as_rows
from guidestore.warehouse.cohorts.layout import Layout, Reading
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from guidestore.warehouse.cohorts.phantom_outcomes import VALUE_UNIT, PhantomKind, PhantomOutcome, survival, values

CLASS_SHARES: Mapping[str, int] = {"G": 133, "O": 34, "A": 54}
"""Glioblastoma, oligodendroglioma, astrocytoma among the 221 cases of RadPath 2020."""

OUTCOMES = "Outcomes/outcomes.csv"
LABEL_COLUMNS = ("CPM_RadPath_2020_ID", "class", "age_in_days")

MIN_PER_CLASS = 6
"""Enough for three stratified folds with train, val and test, where the cohort has room."""

HIDDEN_CENTRES: Mapping[str, tuple[float, float, float]] = {
    "G": (1.1, 0.4, 0.5),
    "O": (-0.4, -1.3, 0.5),
    "A": (-0.6, 0.6, -1.0),
}
"""Mean of h per class: cellularity, nuclear elongation, fibrillarity."""

HIDDEN_SD = 0.5
"""Of h within a class."""

MRI_NOISE_SD = 0.6
"""Of what is added to h before the MRI shows it."""

SLIDE_MPP = 0.5
JPEG_QUALITY = 90
PYRAMID_STEP = 4
TIFF_TILE_PX = 256

HEMATOXYLIN_OD = (0.65, 0.70, 0.29)
EOSIN_OD = (0.09, 0.95, 0.28)
"""Optical density of unit stain in red, green, blue (Ruifrok & Johnston 2001)."""

TISSUE_INTENSITIES: Mapping[str, tuple[float, float, float, float]] = {
    "t1": (300.0, 400.0, 150.0, 240.0),
    "t1ce": (310.0, 410.0, 160.0, 250.0),
    "t2": (400.0, 300.0, 700.0, 480.0),
    "flair": (360.0, 300.0, 120.0, 450.0),
}
"""Of gray matter, white matter, ventricles and tumour, in scanner units, per sequence."""


@dataclass(frozen=True, slots=True)
class VoxelGrid:
    """A sequence's voxels in space; axis directions as in nibabel's codes, centred on the head."""

    shape_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    leftward: bool = False
    """The first axis runs to the left (LAS), as scanners often write it; otherwise RAS."""

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) voxel -> RAS+ mm."""
        signs = np.array([-1.0 if self.leftward else 1.0, 1.0, 1.0])
        affine = np.diag([*(signs * self.spacing_mm), 1.0])
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(self.shape_vox) - 1) / 2)
        return affine

    def axes_mm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places of the voxels along each axis, RAS mm."""
        x, y, z = (
            np.arange(size) * self.affine[axis, axis] + self.affine[axis, 3] for axis, size in enumerate(self.shape_vox)
        )
        return x, y, z


GRIDS: Mapping[str, VoxelGrid] = {
    "t1": VoxelGrid((40, 48, 40), (4.0, 4.0, 4.0)),
    "t1ce": VoxelGrid((40, 48, 40), (4.0, 4.0, 4.0)),
    "t2": VoxelGrid((40, 48, 32), (4.0, 4.0, 5.0), leftward=True),
    "flair": VoxelGrid((44, 52, 40), (3.6, 3.7, 4.0)),
}
"""As in reality, the sequences of a case do not share one grid."""


class Phantom(Layout):
    """A generated cohort of real files whose slides tell the class better than their MRI: to try things out.

    $ guidestore cohort add phantom trial --images trial-images
    """

    images: Path = Field(description="Folder to generate the files in.")
    cases: int = Field(default=48, ge=1, description="How many cases.")
    seed: int = Field(default=0, ge=0, description="Same seed, same pixels.")
    outcome: PhantomKind = Field(default="classes", description="What slide and MRI tell: target class, value or os.")
    noise: float = Field(default=0.0, ge=0, description="Of the outcome, beside 1 that can be known of it.")
    direct: float = Field(
        default=0.0, ge=0, le=1, description="Share of what can be known that the MRI says and the slide does not."
    )

    def read(self, reading: Reading) -> CohortTables:
        outcome = PhantomOutcome(self.outcome, self.noise, self.direct)
        generate_phantom(self.images, cases=self.cases, seed=self.seed, outcome=outcome)
        tables = Radpath(source=self.images, splits=0).read(reading)
        cohorts = [{**row, "note": outcome.note} for row in as_rows(tables.cohorts)]
        if self.outcome == "classes":
            return replace(tables, cohorts=cohorts if outcome != PhantomOutcome() else tables.cohorts)
        targets, labels = _read_outcomes(self.images / OUTCOMES)
        return replace(tables, cohorts=cohorts, targets=targets, labels=labels)


def generate_phantom(
    directory: str | Path,
    *,
    cases: int = 48,
    seed: int = 0,
    slide_px: int = 1280,
    outcome: PhantomOutcome | None = None,
) -> None:
    """Writes a cohort of `cases` cases in RadPath's layout into the new or empty folder `directory`.

    ``labels.csv`` (CPM_RadPath_2020_ID, class G / O / A in about the shares of RadPath, age_in_days);
    ``Radiology/<ID>/<ID>_{t1,t1ce,t2,flair}.nii.gz``, int16, skull-stripped, on grids that differ;
    ``Pathology/<ID>.tiff``, a tiled JPEG pyramid of slide_px x slide_px pixels at 0.5 um per pixel, which the file
    says. Ids are PHANTOM_0001 onwards. The same arguments give the same pixels; another seed gives other cases.

    slide_px: edge of level 0, a multiple of 256. outcome: a value or survival stands in ``Outcomes/outcomes.csv``, and
    classes with noise, or that the MRI tells in part, in ``labels.csv``; the pixels stay the same.
    Raises InvalidInputError for fewer than 9 cases (three per class), a slide_px that is no multiple, and a folder that
    already holds something.
    """
    import nibabel as nib

    directory = Path(directory)
    if cases < 9:
        raise InvalidInputError(f"a phantom cohort of {cases} cases is too small; ask for at least 9, three per class")
    if slide_px < TIFF_TILE_PX or slide_px % TIFF_TILE_PX:
        raise InvalidInputError(f"slide_px {slide_px} must be a multiple of {TIFF_TILE_PX}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidInputError(f"{directory} is not an empty folder; name a new one for the phantom cohort")
    (directory / "Pathology").mkdir(parents=True)
    rng = np.random.default_rng([seed, 0])
    labels = rng.permutation(_class_list(cases))
    rows: list[tuple[str, str, int]] = []
    states = []
    for number, label in enumerate(labels.tolist(), start=1):
        case_id = f"PHANTOM_{number:04d}"
        case_rng = np.random.default_rng([seed, number])
        hidden = case_rng.normal(HIDDEN_CENTRES[label], HIDDEN_SD)
        noisy = case_rng.normal(hidden, MRI_NOISE_SD)
        states.append((hidden, noisy))
        rows.append((case_id, label, int(case_rng.integers(20 * 365, 80 * 365))))
        write_slide(directory / "Pathology" / f"{case_id}.tiff", draw_slide(hidden, case_rng, slide_px))
        folder = directory / "Radiology" / case_id
        folder.mkdir(parents=True)
        for sequence, voxels in draw_mri(noisy, case_rng).items():
            image = nib.Nifti1Image(voxels, GRIDS[sequence].affine)  # pyright: ignore[reportPrivateImportUsage]
            image.to_filename(folder / f"{case_id}_{sequence}.nii.gz")
    if outcome and outcome != PhantomOutcome():
        rng = np.random.default_rng([seed, 0, 1])
        hidden_nh, noisy_nh = (np.array(side) for side in zip(*states, strict=True))
        if outcome.kind == "classes":
            drawn = _drawn_classes(outcome, hidden_nh, noisy_nh - hidden_nh, rng)
            rows = [(case_id, name, age) for (case_id, _, age), name in zip(rows, drawn, strict=True)]
        else:
            scores_n = outcome.score(*_scores(hidden_nh, noisy_nh - hidden_nh, np.ones((3, 1))), rng)[:, 0]
            _write_outcomes(directory / OUTCOMES, outcome.kind, [row[0] for row in rows], scores_n, rng)
    with (directory / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LABEL_COLUMNS)
        writer.writerows(rows)


def _scores(hidden_nh: np.ndarray, own_nh: np.ndarray, along_hk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) and (n, k): h, and what the MRI adds to it, along k directions, each of mean 0 and variance 1."""
    shares = np.array(list(CLASS_SHARES.values())) / sum(CLASS_SHARES.values())
    centres = np.array([HIDDEN_CENTRES[name] for name in CLASS_SHARES])
    mean = shares @ centres
    spread = HIDDEN_SD**2 * np.eye(3) + (centres - mean).T @ (shares[:, None] * (centres - mean))
    sd_k = np.sqrt(np.einsum("hk,hj,jk->k", along_hk, spread, along_hk))
    own_sd_k = MRI_NOISE_SD * np.linalg.norm(along_hk, axis=0)
    return (hidden_nh - mean) @ along_hk / sd_k, own_nh @ along_hk / own_sd_k


def _drawn_classes(
    outcome: PhantomOutcome, hidden_nh: np.ndarray, own_nh: np.ndarray, rng: np.random.Generator
) -> list[str]:
    """The class whose centre the score points to most."""
    names = list(HIDDEN_CENTRES)
    along_hk = np.array(list(HIDDEN_CENTRES.values())).T
    scores_nk = outcome.score(*_scores(hidden_nh, own_nh, along_hk), rng)
    return [names[k] for k in scores_nk.argmax(axis=1)]


def _write_outcomes(
    file: Path, kind: str, case_ids: Sequence[str], scores_n: np.ndarray, rng: np.random.Generator
) -> None:
    file.parent.mkdir()
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if kind == "value":
            writer.writerow(("case_id", "value"))
            writer.writerows(zip(case_ids, values(scores_n).round(4).tolist(), strict=True))
        else:
            months, events = survival(scores_n, rng)
            writer.writerow(("case_id", "os_months", "os_event"))
            writer.writerows(zip(case_ids, months.round(2).tolist(), events.astype(int).tolist(), strict=True))


def _read_outcomes(file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of kinds targets and labels."""
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    if "value" in rows[0]:
        labels = [{"case_id": row["case_id"], "target": "value", "value": float(row["value"])} for row in rows]
        return [{"target": "value", "kind": "value", "unit": VALUE_UNIT}], labels
    labels = [
        {
            "case_id": row["case_id"],
            "target": "os",
            "time": float(row["os_months"]),
            "event": row["os_event"] == "1",
        }
        for row in rows
    ]
    return [{"target": "os", "kind": "survival", "unit": "months"}], labels


def _class_list(cases: int) -> list[str]:
    """`cases` class names: RadPath's shares, but at least MIN_PER_CLASS (or a third) of each; G takes the rest."""
    least = min(MIN_PER_CLASS, cases // 3)
    total = sum(CLASS_SHARES.values())
    counts = {name: max(round(cases * CLASS_SHARES[name] / total), least) for name in ("O", "A")}
    return ["G"] * (cases - sum(counts.values())) + [name for name, count in counts.items() for _ in range(count)]


def draw_slide(hidden: np.ndarray, rng: np.random.Generator, slide_px: int) -> np.ndarray:
    """(slide_px, slide_px, 3) uint8 H&E-like picture of h (3,): a piece of tissue on white glass at SLIDE_MPP."""
    from scipy.ndimage import gaussian_filter

    cellularity, elongation, fibrillarity = hidden.tolist()  # Python floats keep the pictures float32.
    coarse = slide_px // 16
    y, x = np.mgrid[-1 : 1 : coarse * 1j, -1 : 1 : coarse * 1j]
    shape = 1 - np.hypot(x, y) + 4 * gaussian_filter(rng.normal(size=(coarse, coarse)), coarse / 12)
    tissue = np.clip(_enlarged(shape, 16) * 20 - 2, 0, 1)

    grain = gaussian_filter(rng.normal(size=(slide_px // 4, slide_px // 4)), (1.0, 3.0))
    fibres = _enlarged(grain / grain.std(), 4)
    eosin = tissue * np.clip(0.35 + 0.03 * fibrillarity + 0.07 * math.exp(0.4 * fibrillarity) * fibres, 0.05, 1.0)
    hematoxylin = 0.06 * tissue

    area_mm2 = (slide_px * SLIDE_MPP / 1000) ** 2
    count = int(area_mm2 * 1800 * np.exp(0.45 * cellularity))
    radius_px = 6.5 * np.exp(0.1 * cellularity) * np.exp(rng.normal(0, 0.12, count))
    ratio = 1 + 0.9 * np.logaddexp(0, 1.5 * elongation + rng.normal(0, 0.4, count)) / 1.5
    angle = rng.uniform(0, np.pi, count)
    density = rng.uniform(0.5, 0.8, count)
    places = rng.integers(0, slide_px, (count, 2))
    for (row, column), radius, stretch, turn, dark in zip(places, radius_px, ratio, angle, density, strict=True):
        if tissue[row, column] < 0.5:
            continue
        major, minor = radius * np.sqrt(stretch), radius / np.sqrt(stretch)
        reach = int(major) + 2
        top, left = max(row - reach, 0), max(column - reach, 0)
        window = hematoxylin[top : row + reach + 1, left : column + reach + 1]
        dy = np.arange(top - row, top - row + window.shape[0], dtype=np.float32)[:, None]
        dx = np.arange(left - column, left - column + window.shape[1], dtype=np.float32)[None]
        along = (np.cos(turn) * dx + np.sin(turn) * dy) / major
        across = (np.cos(turn) * dy - np.sin(turn) * dx) / minor
        # Soft rim of about a pixel and a half.
        np.maximum(window, dark * np.clip((1 - along**2 - across**2) * minor / 3, 0, 1), out=window)

    stain = rng.normal(1, 0.06, 2).tolist()  # Laboratories stain differently.
    slide = np.empty((slide_px, slide_px, 3), np.uint8)
    for channel in range(3):
        density_hw = hematoxylin * (HEMATOXYLIN_OD[channel] * stain[0]) + eosin * (EOSIN_OD[channel] * stain[1])
        slide[..., channel] = 245 * np.exp(-math.log(10) * density_hw)
    return slide


def _enlarged(values_hw: np.ndarray, factor: int) -> np.ndarray:
    """(factor h, factor w) float32, linearly interpolated."""
    size = (values_hw.shape[1] * factor, values_hw.shape[0] * factor)
    return np.asarray(Image.fromarray(values_hw.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))


def write_slide(path: Path, slide_hwc: np.ndarray) -> None:
    """Writes a tiled JPEG pyramid that OpenSlide opens as generic-tiff, with SLIDE_MPP in the resolution tags."""
    import tifffile

    with tifffile.TiffWriter(path) as tiff:
        level_hwc, mpp = slide_hwc, SLIDE_MPP
        for subfile_type in (0, 1):
            tiff.write(
                level_hwc,
                tile=(TIFF_TILE_PX, TIFF_TILE_PX),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": JPEG_QUALITY},
                resolution=(1e4 / mpp, 1e4 / mpp),
                resolutionunit="CENTIMETER",
                subfiletype=subfile_type,
                metadata=None,
            )
            h, w = (size // PYRAMID_STEP for size in level_hwc.shape[:2])
            blocks = level_hwc.reshape(h, PYRAMID_STEP, w, PYRAMID_STEP, 3)
            level_hwc = np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
            mpp *= PYRAMID_STEP


def draw_mri(noisy: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Sequence -> voxels int16 on its grid in GRIDS: a brain with a tumour that shows the noisy state (3,)."""
    vascularity, wetness, swelling = noisy.tolist()
    semi_axes_mm = np.array([68.0, 84.0, 60.0]) * rng.normal(1, 0.03, 3)
    centre_mm = rng.uniform(-0.35, 0.35, 3) * semi_axes_mm
    centre_mm[0] += np.sign(centre_mm[0]) * 12  # Off the midline, in one hemisphere.
    core_mm = 22 * math.exp(0.12 * vascularity + rng.normal(0, 0.08))
    oedema_mm = core_mm + 14 * math.exp(0.4 * swelling)
    waviness = rng.normal(0, 1, (2, 3))
    voxels: dict[str, np.ndarray] = {}
    for sequence, grid in GRIDS.items():
        gray, white, ventricle, tumour = TISSUE_INTENSITIES[sequence]
        x, y, z = grid.axes_mm()
        depth = np.sqrt(_sum_over(x / semi_axes_mm[0], y / semi_axes_mm[1], z / semi_axes_mm[2], power=2))
        folds = _sum_over(*(np.sin(axis / 9.0 + shift) for axis, shift in zip((x, y, z), waviness[0], strict=True)))
        image = np.where(depth + 0.03 * folds < 0.78, white, gray)  # depth: 0 in the middle, 1 on the surface.
        ventricles = _sum_over((np.abs(x) - 12) / 7, y / 26, (z - 5) / 9, power=2) < 1
        image = np.where(ventricles, ventricle, image)

        away_mm = np.sqrt(_sum_over(x - centre_mm[0], y - centre_mm[1], z - centre_mm[2], power=2))
        waves = _sum_over(*(np.sin(axis / 6.0 + shift) for axis, shift in zip((x, y, z), waviness[1], strict=True)))
        away_mm = away_mm + 2.5 * waves
        oedema = _inside(away_mm, oedema_mm)
        core = _inside(away_mm, core_mm)
        if sequence in ("t2", "flair"):
            image = image + oedema * (110 + 50 * swelling)
            image = image + core * (tumour + 140 * wetness - image)
        else:
            image = image - 40 * oedema
            image = image + core * (tumour - 50 * wetness - image)
        if sequence == "t1ce":
            ring = np.exp(-(((away_mm - core_mm) / 5.0) ** 2))
            image = image + ring * max(150 + 170 * vascularity, 0.0)
        tilt = rng.normal(0, 0.008, 3)
        bias = 1 + 0.08 * np.sin(_sum_over(x * tilt[0], y * tilt[1], z * tilt[2]))  # Of the receiving coil.
        image = image * bias * rng.normal(1, 0.1) + rng.normal(0, 15, image.shape)
        voxels[sequence] = np.where(depth < 1, np.clip(image, 1, 32000), 0).astype(np.int16)
    return voxels


def _sum_over(x: np.ndarray, y: np.ndarray, z: np.ndarray, power: int = 1) -> np.ndarray:
    """(len(x), len(y), len(z)): the sum of one term per axis, each to `power`."""
    return (x**power)[:, None, None] + (y**power)[:, None] + z**power


def _inside(away_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """1 within the radius, 0 outside, smooth over about a voxel."""
    return np.clip((radius_mm - away_mm) / 4.0 + 0.5, 0, 1)
