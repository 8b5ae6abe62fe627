"""Is it real? Intervals and tests over stored predictions, and the verdict on a guided row.

`draw_metrics` draws the cases once for all runs of a cohort and target; `compare` and `guidance_effect` then read
any two rows, or a guided row against I and its controls, from the same draws. Beside it `mcnemar`, the classical test
of two runs, and `holm` over tasks.

scipy and statsmodels load inside the functions that use them.
"""

from guidestore.heads.significance.bootstrap import DrawnMetrics, draw_metrics
from guidestore.heads.significance.comparison import Comparison, compare
from guidestore.heads.significance.guidance_effect import (
    MARGIN,
    VERDICTS,
    Gain,
    GuidanceEffect,
    GuidedRow,
    Rival,
    guidance_effect,
)
from guidestore.heads.significance.intervals import Interval, interval_of
from guidestore.heads.significance.mcnemar import McNemar, mcnemar, median_p
from guidestore.heads.significance.multiplicity import holm
from guidestore.heads.significance.predictions import on_common_cases
from guidestore.heads.significance.training_luck import TrainingLuck

__all__ = [
    "MARGIN",
    "VERDICTS",
    "Comparison",
    "DrawnMetrics",
    "Gain",
    "GuidanceEffect",
    "GuidedRow",
    "Interval",
    "McNemar",
    "Rival",
    "TrainingLuck",
    "compare",
    "draw_metrics",
    "guidance_effect",
    "holm",
    "interval_of",
    "mcnemar",
    "median_p",
    "on_common_cases",
]
