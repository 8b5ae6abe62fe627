"""How good predictions are: metric.py says what a metric is, and a file per kind of target has those of that kind.

To add one, write it into the file of its kind and put it into that file's METRICS. One's own (own.py) is handed over,
named ``module:Class``, or brought by an installed distribution through the entry-point group ``guidestore.metrics``.
"""

from guidestore.heads.metrics.classes import AUROC, BALANCED_ACCURACY, balanced_log_loss
from guidestore.heads.metrics.metric import Drawn, Metric, Scored
from guidestore.heads.metrics.table import (
    METRICS,
    all_metrics,
    asked_metric,
    check_metric,
    drawn_metrics,
    evaluate,
    main_metric_of,
    metric_named,
    truth_of,
)

__all__ = [
    "AUROC",
    "BALANCED_ACCURACY",
    "METRICS",
    "Drawn",
    "Metric",
    "Scored",
    "all_metrics",
    "asked_metric",
    "balanced_log_loss",
    "check_metric",
    "drawn_metrics",
    "evaluate",
    "main_metric_of",
    "metric_named",
    "truth_of",
]
