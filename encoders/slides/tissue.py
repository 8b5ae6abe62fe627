"""Tells tissue from glass on a thumbnail: saturation, or of grey slides darkness, above Otsu's threshold; no specks."""

from __future__ import annotations

import numpy as np
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import remove_small_objects

SATURATION_BOUNDS = (0.05, 0.15)
"""Otsu's threshold is kept within these: glass and JPEG noise stay below .04, so a white slide has no tissue; above
.15 Otsu has split a slide full of tissue into dark and pale tissue."""

MIN_OBJECT_UM2 = 10_000.0
"""Smaller spots (100 um x 100 um) are dust, not tissue."""

DARK = 24
"""Of 255. A slide on which nothing is brighter was scanned without light: the noise of black is saturated colour."""

SAME = 1
"""Of 255: what the pixels of a slide of one colour differ by, by rounding."""

SMOOTHING_SD_UM = 8.0
"""Closes the pale gaps between cells, which are tissue too."""


def tissue_mask(thumbnail_hwc: np.ndarray, mpp: float) -> np.ndarray:
    """(h, w) bool, true on tissue, of a thumbnail (h, w, 3) uint8 RGB of `mpp` um per pixel."""
    brightest_hw, darkest_hw = thumbnail_hwc.max(axis=-1), thumbnail_hwc.min(axis=-1)
    # Nor is one of one colour: it is a placeholder, or was never scanned.
    if np.percentile(brightest_hw, 99.9) < DARK or np.ptp(thumbnail_hwc, axis=(0, 1)).max() <= SAME:
        return np.zeros(brightest_hw.shape, bool)
    # float32 throughout: a slide's thumbnail has millions of pixels, and skimage's rgb2hsv needs 100 bytes for each.
    if (brightest_hw == darkest_hw).all():  # A grey slide: by how much it is darker than glass.
        glass = max(float(np.percentile(brightest_hw, 99)), 1.0)
        saturation_hw = np.clip(1 - brightest_hw.astype(np.float32) / glass, 0, 1)
    else:
        saturation_hw = np.divide(brightest_hw - darkest_hw, np.maximum(brightest_hw, 1), dtype=np.float32)
    saturation_hw = gaussian(saturation_hw, sigma=SMOOTHING_SD_UM / mpp)
    threshold = float(np.clip(threshold_otsu(saturation_hw), *SATURATION_BOUNDS))
    return remove_small_objects(saturation_hw > threshold, max_size=int(MIN_OBJECT_UM2 / mpp**2))
