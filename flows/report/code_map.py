"""The test cases of one fold and seed as points: z_I, z_S and G(z_I), coloured by class, errors marked."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.flows.report.figures import UNLABELLED_COLOUR, class_colours, css_colour, drawing, inline_svg
from guidestore.flows.report.guided_codes import GuidedPairs
from guidestore.flows.report.outcomes import groups_of
from guidestore.flows.report.sections import Section
from guidestore.heads.input_rows import GUIDED_PLUS_I

TSNE_FROM_CASES = 100
"""t-SNE shows neighbourhoods that a plane of PCA cannot, but makes clusters of noise where cases are few."""
MAX_CASES = 400
"""More points hide each other, and take 60 bytes each."""
_KEPT_DIMENSIONS = 50
"""PCA before t-SNE, as its authors do."""
_SEED = 0


@dataclass(frozen=True, slots=True)
class CodeMap:
    """The figure, the classes with their colours in the page's style, and what to say below."""

    svg: Markup
    legend: tuple[tuple[str, str], ...]
    method: str
    unit: str
    """fold 0, seed 0."""
    cases: int
    of_cases: int
    errors: int


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


def code_map(section: Section, pairs: GuidedPairs, guided_nd: np.ndarray, places: Places) -> CodeMap:
    """z_I in a map of its own; z_S and G(z_I), which share a space, in one map drawn side by side."""
    n = len(pairs.case_ids)
    kept = np.arange(n)
    if n > MAX_CASES:
        kept = np.sort(np.random.default_rng(_SEED).choice(n, MAX_CASES, replace=False))
    method = method_for(len(kept))
    inferior_n2 = places.of(pairs.inferior_nd[kept], method)
    both_n2 = places.of(np.concatenate([pairs.superior_nd[kept], guided_nd[kept]]), method)
    groups, names = groups_of(section, pairs.y)
    labels, wrong = groups[kept], _wrong(section, pairs)[kept]
    colours: list[str] = class_colours(len(names))
    shown: list[int] = sorted(set(labels.tolist()) - {-1})
    panels_of = {
        "z_I": (inferior_n2, inferior_n2),
        "z_S": (both_n2[: len(kept)], both_n2),
        "G(z_I), in the map of z_S": (both_n2[len(kept) :], both_n2),
    }
    with drawing(8.6, 3.1) as figure:
        for panel, (title, (points_n2, span_n2)) in zip(figure.subplots(1, 3), panels_of.items(), strict=True):
            panel.set_title(title, loc="left")
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[["top", "right"]].set_visible(True)
            for label in (-1, *shown):
                colour = colours[label] if label >= 0 else UNLABELLED_COLOUR
                for is_wrong, marker, size in ((False, "o", 3.2), (True, "x", 4.5)):
                    x, y = points_n2[(labels == label) & (wrong == is_wrong)].T
                    panel.plot(x, y, marker, color=colour, markersize=size, markeredgewidth=1.4 * is_wrong)
            margin = 0.04 * np.ptp(span_n2, axis=0) + 1e-9  # codes that are all alike have no extent
            panel.set_xlim(span_n2[:, 0].min() - margin[0], span_n2[:, 0].max() + margin[0])
            panel.set_ylim(span_n2[:, 1].min() - margin[1], span_n2[:, 1].max() + margin[1])
        label = f"Maps of z_I, z_S and G(z_I) of {len(kept)} test cases by {method}, coloured by outcome"
        svg = inline_svg(figure, f"{section.name}-map", label)
    legend = [(css_colour(colours[c]), names[c]) for c in shown]
    if -1 in labels:
        legend.append((css_colour(UNLABELLED_COLOUR), "no label"))
    _, fold, seed = pairs.unit
    return CodeMap(svg, tuple(legend), method, f"fold {fold}, seed {seed}", len(kept), n, int(wrong.sum()))


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
