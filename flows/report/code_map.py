"""The test cases of one fold and seed as points: z_I, z_S and G(z_I), coloured by class, errors marked."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.flows.report.figures import (
    CHARS_AN_IN,
    LINE_IN,
    UNLABELLED_COLOUR,
    Picture,
    class_colours,
    css_colour,
    drawing,
    in_lines,
    inline_svg,
    places_in,
)
from guidestore.flows.report.guided_codes import GuidedPairs
from guidestore.flows.report.outcomes import groups_of, said_of, truth_of_cases
from guidestore.flows.report.plain_words import modality_name
from guidestore.flows.report.sections import Section
from guidestore.flows.report.tables import NOTHING
from guidestore.flows.work.colours import INK
from guidestore.heads.input_rows import GUIDED_PLUS_I, I

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TSNE_FROM_CASES = 100
"""t-SNE shows neighbourhoods that a plane of PCA cannot, but makes clusters of noise where cases are few."""
MAX_CASES = 400
"""More points hide each other, and take 60 bytes each."""
_KEPT_DIMENSIONS = 50
"""PCA before t-SNE, as its authors do."""
_SEED = 0
_SIZE_IN = (8.6, 3.1)
_MARKER_CHARS = 6
"""What the marker of a legend takes, in characters."""


@dataclass(frozen=True, slots=True)
class CodeMap:
    """The figure, the classes with their colours in the page's style, and what to say below."""

    svg: Markup
    """For the page: under the pointer a case is marked in all three maps, and named."""
    picture: Picture
    """The same for a folder."""
    legend: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[MappedCase, ...]
    """A line per case, in the order of ids; () where cases are not to be named."""
    method: str
    unit: str
    """fold 0, seed 0."""
    cases: int
    of_cases: int
    errors: int


@dataclass(frozen=True, slots=True)
class MappedCase:
    """One case of the map."""

    name: str
    point: str
    """Id of its points in the page."""
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """What is drawn of n cases: titles of the maps with their (n, 2) points and what they must hold, and how."""

    maps: dict[str, tuple[np.ndarray, np.ndarray]]
    labels: np.ndarray
    wrong: np.ndarray
    colours: list[str]

    def colour(self, label: int) -> str:
        return self.colours[label] if label >= 0 else UNLABELLED_COLOUR


class Places:
    """Where codes lie on a map. Targets of a cohort share most codes, so each matrix is placed once."""

    def __init__(self) -> None:
        self._known: dict[bytes, np.ndarray] = {}

    def of(self, codes_nd: np.ndarray, method: str) -> np.ndarray:
        """(n, 2) float64 of (n, d) codes, by `method_for`."""
        key = hashlib.sha256(f"{method} {codes_nd.shape} ".encode() + codes_nd.tobytes()).digest()
        if key not in self._known:
            self._known[key] = _placed(codes_nd, method)
        return self._known[key]


def method_for(n_cases: int) -> str:
    return "t-SNE" if n_cases >= TSNE_FROM_CASES else "PCA"


def code_map(section: Section, pairs: GuidedPairs, guided_nd: np.ndarray, places: Places, *, named: bool) -> CodeMap:
    """z_I in a map of its own; z_S and G(z_I), which share a space, in one map drawn side by side.

    named: whether the page says which case is which.
    """
    n = len(pairs.case_ids)
    kept = np.arange(n)
    if n > MAX_CASES:
        kept = np.sort(np.random.default_rng(_SEED).choice(n, MAX_CASES, replace=False))
    method = method_for(len(kept))
    inferior_n2 = places.of(pairs.inferior_nd[kept], method)
    both_n2 = places.of(np.concatenate([pairs.superior_nd[kept], guided_nd[kept]]), method)
    groups, names = groups_of(section, pairs.y)
    maps = {
        f"z_I: {modality_name(section.inferior)}": (inferior_n2, inferior_n2),
        f"z_S: {modality_name(section.superior)}": (both_n2[: len(kept)], both_n2),
        "G(z_I), in the map of z_S": (both_n2[len(kept) :], both_n2),
    }
    drawn = _Drawn(maps, groups[kept], _wrong(section, pairs)[kept], class_colours(len(names)))
    shown = [*sorted(set(drawn.labels.tolist()) - {-1}), *([-1] if -1 in drawn.labels else [])]
    label = f"Maps of z_I, z_S and G(z_I) of {len(kept)} test cases by {method}, coloured by outcome"
    columns, rows = mapped_cases(section, pairs, kept) if named else ((), ())
    with drawing(*_SIZE_IN) as figure:
        panels = _panels(figure, drawn)
        svg = inline_svg(figure, f"{section.name}-map", label, lambda drawn_on: _points(drawn_on, panels, drawn, rows))
    names = (*names, "not known")  # the last, of label -1
    legend = [(css_colour(drawn.colour(c)), names[c]) for c in shown]
    _, fold, seed = pairs.unit
    counts = len(kept), n, int(drawn.wrong.sum())
    columns_, told = _in_columns([*(names[c] for c in shown), f"{GUIDED_PLUS_I} is wrong"])
    lines = -(-len(told) // columns_) * max(name.count("\n") + 1 for name in told)
    picture = Picture(
        "map",
        (_SIZE_IN[0], _SIZE_IN[1] + 0.25 + LINE_IN * lines),
        label,
        lambda figure: _fill(figure, drawn, shown, names),
    )
    return CodeMap(svg, picture, tuple(legend), columns, rows, method, f"fold {fold}, seed {seed}", *counts)


def _panels(figure: Figure, drawn: _Drawn) -> list[Any]:
    """The three maps, empty."""
    panels = list(figure.subplots(1, 3))
    for panel, (title, (_, span_n2)) in zip(panels, drawn.maps.items(), strict=True):
        panel.set_title(in_lines(title, _SIZE_IN[0] / 3, most=2), loc="left")
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[["top", "right"]].set_visible(True)
        margin = 0.04 * np.ptp(span_n2, axis=0) + 1e-9  # codes that are all alike have no extent
        panel.set_xlim(span_n2[:, 0].min() - margin[0], span_n2[:, 0].max() + margin[0])
        panel.set_ylim(span_n2[:, 1].min() - margin[1], span_n2[:, 1].max() + margin[1])
    return panels


def _fill(figure: Figure, drawn: _Drawn, shown: list[int], names: tuple[str, ...]) -> None:
    """The maps with their points and a legend."""
    panels = _panels(figure, drawn)
    for panel, (points_n2, _) in zip(panels, drawn.maps.values(), strict=True):
        for label in reversed(shown):  # what is not known lies below
            for is_wrong, marker, size in ((False, "o", 3.2), (True, "x", 4.5)):
                x, y = points_n2[(drawn.labels == label) & (drawn.wrong == is_wrong)].T
                style = {"color": drawn.colour(label), "markersize": size, "markeredgewidth": 1.4 * is_wrong}
                panel.plot(x, y, marker, **style)
    # A handle per name: of names that begin with _ matplotlib makes no legend.
    keys = [panels[0].plot([], [], "o", color=drawn.colour(label), markersize=4)[0] for label in shown]
    told = [names[label] for label in shown]
    if drawn.wrong.any():
        keys += panels[0].plot([], [], "x", color=INK, markersize=4.5, markeredgewidth=1.4)
        told.append(f"{GUIDED_PLUS_I} is wrong")
    columns, told = _in_columns(told)
    figure.legend(keys, [f"\u200b{name}" for name in told], loc="outside lower center", ncols=columns, frameon=False)


def _in_columns(names: Sequence[str]) -> tuple[int, list[str]]:
    """How many names of a legend fit beside each other, and these in lines that do."""
    room = int(_SIZE_IN[0] * CHARS_AN_IN)
    longest = max(map(len, names), default=1)
    columns = max(min(3, len(names)), min(6, room // (longest + _MARKER_CHARS)))
    return columns, [in_lines(name, (room / columns - _MARKER_CHARS) / CHARS_AN_IN) for name in names]


def _points(figure: Figure, panels: list[Any], drawn: _Drawn, rows: Sequence[MappedCase]) -> list[ElementTree.Element]:
    """A group per case with its three points; with `rows` it is a link to itself, and names the case."""
    places = [
        places_in(figure, panel, points_n2)
        for panel, (points_n2, _) in zip(panels, drawn.maps.values(), strict=True)
    ]  # fmt: skip
    groups = []
    for case, (label, is_wrong) in enumerate(zip(drawn.labels.tolist(), drawn.wrong.tolist(), strict=True)):
        colour = drawn.colour(label)
        group = ElementTree.Element("g", {"class": "case"})
        into = group
        told = ", ".join((rows[case].name, *rows[case].cells)) if rows else ""
        if rows:
            row = rows[case]
            group.set("id", row.point)
            # By keyboard the same is in the table below, without hundreds of stops.
            into = ElementTree.SubElement(group, "a", {"href": f"#{row.point}", "tabindex": "-1", "aria-label": told})
            ElementTree.SubElement(into, "title").text = told
        for place in places:
            x, y = place[case]
            if is_wrong:
                cross = f"M{x - 2.2:.1f} {y - 2.2:.1f}l4.4 4.4m0 -4.4l-4.4 4.4"
                style = {"d": cross, "stroke": colour, "stroke-width": "1.4", "fill": "none"}
                ElementTree.SubElement(into, "path", style)
            else:
                at = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "2", "fill": colour}
                ElementTree.SubElement(into, "circle", at)
        if rows:
            at = {"x": f"{figure.get_figwidth() * 36:.0f}", "y": f"{figure.get_figheight() * 72 + 11:.0f}"}
            name = ElementTree.SubElement(into, "text", {**at, "text-anchor": "middle", "font-size": "9"})
            name.text = told
        groups.append(group)
    return groups


def mapped_cases(
    section: Section, pairs: GuidedPairs, kept: np.ndarray
) -> tuple[tuple[str, ...], tuple[MappedCase, ...]]:
    """Columns and lines of the cases `kept`: the outcome, and what I and the guided row say, where they do."""
    said: dict[str, dict[str, str]] = {}
    for row in (I, GUIDED_PLUS_I):
        of_unit = next((run for run in section.of_row(row) if run.unit == pairs.unit), None)
        if of_unit is not None:
            said[row] = dict(zip(of_unit.case_ids, said_of(section, of_unit), strict=True))
    truth = truth_of_cases(section, pairs.y[kept])
    rows = []
    for place, case in enumerate(kept):
        case_id = pairs.case_ids[case]
        cells = (truth[place], *(of_row.get(case_id, NOTHING) for of_row in said.values()))
        rows.append(MappedCase(case_id, f"{section.name}-case-{place}", cells))
    return ("case", section.target, *(f"{row} says" for row in said)), tuple(rows)


def _wrong(section: Section, pairs: GuidedPairs) -> np.ndarray:
    """(n,) bool: G(I)+I of this fold and seed predicts another class; False where it predicts none."""
    wrong: set[str] = set()
    if section.kind not in ONE_CLASS_KINDS:
        return np.zeros(len(pairs.case_ids), dtype=bool)
    for run in section.of_row(GUIDED_PLUS_I):
        if run.unit == pairs.unit:
            wrong.update(case_id for case_id, good in zip(run.case_ids, run.correct, strict=True) if not good)
    return np.array([case_id in wrong for case_id in pairs.case_ids])


def _placed(codes_nd: np.ndarray, method: str) -> np.ndarray:
    """Standardised, then two dimensions; zeros where the codes have only one."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    codes_nd = codes_nd.astype(np.float64)
    scale_d = codes_nd.std(axis=0)
    codes_nd = (codes_nd - codes_nd.mean(axis=0)) / np.where(np.ptp(codes_nd, axis=0) > 0, scale_d, 1.0)
    kept = min(_KEPT_DIMENSIONS if method == "t-SNE" else 2, *codes_nd.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # codes that are all alike have no variance to explain
        places_nd = PCA(kept, svd_solver="full").fit_transform(codes_nd)
    places_nd = np.pad(places_nd, ((0, 0), (0, max(0, 2 - kept))))
    if method == "t-SNE" and np.ptp(places_nd, axis=0).all():
        places_nd = TSNE(2, init="pca", random_state=_SEED, perplexity=30.0).fit_transform(places_nd)
    return places_nd[:, :2].astype(np.float64)
