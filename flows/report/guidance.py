"""How well G foretells z_S on test pairs, beside G trained on shuffled pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.report.figures import Picture
from guidestore.flows.report.guided_codes import GuidedPairs, foretell
from guidestore.flows.report.tables import NOTHING
from guidestore.flows.work.colours import CONTROL_COLOUR, INK, ROW_COLOURS
from guidestore.heads.input_rows import GUIDED_PLUS_I
from guidestore.heads.reliability import Reliability, pool, reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECALL_AT = (1, 5, 10)
R2_FROM = -1.0
"""Left end of the histogram; dimensions that G tells worse than this are counted there."""


@dataclass(frozen=True, slots=True)
class GuidanceTable:
    """Measure, G, its control ('–' without), and what a G that knows nothing would have; the figure; and of what."""

    lines: tuple[tuple[str, str, str, str], ...]
    picture: Picture
    models: int
    pairs: int
    """Test pairs, each counted once for each G."""
    constant: float
    """Share of the dimensions of z_S without R², because they do not vary among the test pairs."""


def reliability_of(snapshot: Snapshot, pairs: Sequence[GuidedPairs]) -> tuple[Reliability, Reliability | None]:
    """Of G over all folds and seeds, and of the control (None without). Raises GuidestoreError."""
    true = [reliability(foretell(snapshot, of_unit.guidance, of_unit), of_unit.superior_nd) for of_unit in pairs]
    shuffled = [
        reliability(foretell(snapshot, artifact, of_unit), of_unit.superior_nd)
        for of_unit in pairs
        for artifact in of_unit.shuffled
    ]
    return pool(true), pool(shuffled) if shuffled else None


def guidance_table(pairs: Sequence[GuidedPairs], true: Reliability, control: Reliability | None) -> GuidanceTable:
    """The measures of `reliability_of` as a table and a figure."""
    measures: list[tuple[str, Callable[[Reliability], str], str]] = [
        ("R² of a dimension of z_S, median", lambda of: _over(_r2(of), np.median, ".3f"), "0"),
        ("dimensions with R² above 0", lambda of: _over(_r2(of) > 0, np.mean, ".0%"), NOTHING),
        ("cosine with the case's own z_S, mean", lambda of: f"{of.cosine_n.mean():.3f}", NOTHING),
        ("cosine with another case's z_S, mean", lambda of: f"{of.cosine_other_n.mean():.3f}", NOTHING),
        (
            "rank of the case's own z_S, median",
            lambda of: f"{of.median_rank:g} of {np.median(of.candidates_n):g}",
            f"{true.median_rank_by_chance:g}",
        ),
        *(
            (
                "own z_S is the nearest" if k == 1 else f"own z_S among the {k} nearest",
                lambda of, k=k: f"{of.recall_at(k):.1%}",
                f"{true.recall_by_chance(k):.1%}",
            )
            for k in RECALL_AT
        ),
    ]
    lines = tuple((name, of(true), of(control) if control else NOTHING, chance) for name, of, chance in measures)
    constant = float(np.isnan(true.r2_d).mean())
    return GuidanceTable(lines, _picture(true, control), len(pairs), len(true.rank_n), constant)


def _r2(of: Reliability) -> np.ndarray:
    """Of the dimensions that have one."""
    return of.r2_d[~np.isnan(of.r2_d)]


def _over(values: np.ndarray, measure: Callable[[np.ndarray], Any], form: str) -> str:
    return f"{measure(values):{form}}" if len(values) else NOTHING


def _picture(true: Reliability, control: Reliability | None) -> Picture:
    told = f"median R² {np.median(_r2(true)):.3f}; " if len(_r2(true)) else ""
    label = f"Histograms of G against z_S: {told}mean cosine {true.cosine_n.mean():.3f} with the case's own z_S"
    return Picture("guidance", (7.6, 2.7), label, lambda figure: _fill(figure, true, control))


def _fill(figure: Figure, true: Reliability, control: Reliability | None) -> None:
    """Two histograms: R² over the dimensions of z_S, cosine over the cases."""
    colour = ROW_COLOURS[GUIDED_PLUS_I]
    both = [("G", true, colour, "-")]
    both += [("G, shuffled pairs", control, CONTROL_COLOUR, (0, (4, 1.5)))] if control else []
    left, right = figure.subplots(1, 2)
    edges = np.linspace(R2_FROM, 1, 41)
    for label, of, line_colour, line in both:
        if len(_r2(of)):
            _histogram(left, np.maximum(_r2(of), R2_FROM), edges, label, line_colour, line)
    left.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    left.set_xlabel(f"R² of a dimension of z_S ({R2_FROM:g}: or less)")
    left.set_ylabel("share of dimensions")
    cosines = [
        ("G, own z_S", true.cosine_n, colour, "-"),
        ("G, another z_S", true.cosine_other_n, INK, (0, (1, 1))),
    ]
    if control:
        cosines.append(("shuffled pairs, own z_S", control.cosine_n, CONTROL_COLOUR, (0, (4, 1.5))))
    low = min(float(cosine_n.min()) for _, cosine_n, _, _ in cosines)
    edges = np.linspace(max(-1.0, np.floor(low * 10) / 10), 1, 41)
    for label, cosine_n, line_colour, line in cosines:
        _histogram(right, np.clip(cosine_n, -1, 1), edges, label, line_colour, line)
    right.set_xlabel("cosine of G(z_I) and z_S")
    right.set_ylabel("share of cases")
    for panel in (left, right):
        panel.set_ylim(0, 1.35 * panel.get_ylim()[1])  # room for the legend
        panel.set_yticks([share for share in panel.get_yticks() if share <= 1])
        panel.grid(axis="y")
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc="upper left", frameon=False, fontsize=8)


def _histogram(panel: Any, values: np.ndarray, edges: np.ndarray, label: str, colour: str, line: Any) -> None:
    counts, _ = np.histogram(values, edges)
    panel.stairs(counts / len(values), edges, label=label, color=colour, linestyle=line, linewidth=1.5)
