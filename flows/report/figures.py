"""How figures of the report look: in the page inline SVG that takes its ink and font, in a folder PDF, SVG and PNG."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup

from guidestore.flows.work.colours import CONTROL_COLOUR, INK, OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLASS_COLOURS = (*(OKABE_ITO[name] for name in ("blue", "orange", "green", "purple", "sky", "vermilion")), INK)
UNLABELLED_COLOUR = CONTROL_COLOUR

PX_PER_IN = 96
CHARS_AN_IN = 12
"""Of text in the size of figures, for the wider letters."""
LINE_IN = 0.16
"""Of that text."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "guidestore",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "text.parse_math": False,  # a class may be called $x$
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color", "hatch.color"),
        INK,
    ),
}


SAVED = (".pdf", ".svg", ".png")
"""What is written of a figure: two that scale, and one of PNG_DPI for those who want pixels."""
PNG_DPI = 300
_SAVED_STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",  # whoever opens it may lack the font
    "pdf.fonttype": 42,  # TrueType, whole letters: journals refuse type 3
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}
_WITHOUT_TIME: dict[str, dict[str, None]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}
"""Metadata, so that the same figure has the same bytes."""

Fill = Callable[["Figure"], None]
"""Draws into an empty figure."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A figure of the report."""

    name: str
    """Of its files, after that of the section: bars, calibration, …"""
    size_in: tuple[float, float]
    label: str
    """Tells it to those who do not see it."""
    fill: Fill = field(repr=False)

    def inline(self, section: str) -> Markup:
        """As an element of the page; section: its id there."""
        with drawing(*self.size_in) as figure:
            self.fill(figure)
            return inline_svg(figure, f"{section}-{self.name}", self.label)

    def save(self, folder: Path, stem: str, title: str) -> list[Path]:
        """Writes its files, of the same bytes every time. title: what it is of and of how many cases."""
        title = in_lines(title, self.size_in[0], most=8)
        height_in = self.size_in[1] + 0.1 + LINE_IN * (title.count("\n") + 1)
        with drawing(self.size_in[0], height_in, saved=True) as figure:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9)
            self.fill(figure)
            return save_figure(figure, folder / f"{stem}-{self.name}")


def save_figure(figure: Figure, stem: Path, suffixes: Sequence[str] = SAVED) -> list[Path]:
    """Writes a figure, drawn in `drawing(…, saved=True)`, beside `stem`; raises OSError."""
    files = [stem.with_name(stem.name + suffix) for suffix in suffixes]
    for file in files:
        figure.savefig(file, dpi=PNG_DPI, metadata=_WITHOUT_TIME[file.suffix])
    return files


def in_lines(text: str, width_in: float, *, most: int = 4) -> str:
    """Text of a figure in lines of that width; what `most` lines do not hold is left out."""
    return textwrap.fill(text, max(12, int(width_in * CHARS_AN_IN)), max_lines=most, placeholder=" …")


def class_colours(n_classes: int) -> list[str]:
    """One per class. Beyond seven there are not as many that everybody tells apart: then from dark to bright."""
    if n_classes <= len(_CLASS_COLOURS):
        return list(_CLASS_COLOURS[:n_classes])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.95 * c / (n_classes - 1))) for c in range(n_classes)]


def css_colour(colour: str) -> str:
    """The colour as the page's style has it."""
    return "currentColor" if colour == INK else colour


@contextmanager
def drawing(
    width_in: float, height_in: float, kind: type[Figure] | None = None, *, saved: bool = False
) -> Iterator[Figure]:
    """A figure in the report's style, or in that of files. Close the block after `inline_svg` or `save_figure`.

    kind: a class of figures; None: the plain.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names of any script; the page's text has them all
        mpl.rcdefaults()  # a matplotlibrc of the user's must not change the report
        mpl.rcParams.update({**_STYLE, **_SAVED_STYLE} if saved else _STYLE)
        yield (kind or Figure)(figsize=(width_in, height_in), layout="constrained")


@contextmanager
def saved_style() -> Iterator[None]:
    """For a figure of another style that `save_figure` writes: its letters are in the file, its bytes the same."""
    import matplotlib as mpl

    kept = {name: value for name, value in _SAVED_STYLE.items() if "fonttype" in name}
    with mpl.rc_context({**kept, "svg.hashsalt": _STYLE["svg.hashsalt"]}):
        yield


def mark_bar(artist: Any) -> None:
    """Gives a shape the class ``bar`` in the page."""
    artist.set_gid("bar")


def inline_svg(
    figure: Figure, name: str, label: str, over: Callable[[Figure], list[ElementTree.Element]] | None = None
) -> Markup:
    """The figure as an element of the page. `name` makes its ids the page's only ones, `label` tells it to those who do
    not see it. over: elements drawn over it, which may hold links, by `places_in`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    attributes = [(_local(key), value) for element in root.iter() for key, value in element.attrib.items()]
    used = {id_ for name_, value in attributes for id_ in _refers_to(name_, value)}
    ids = {old: f"{name}-{number}" for number, old in enumerate(_ids(root, used))}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = dict(_tidied(element.attrib, ids))
        element.text, element.tail = (text if text and text.strip() else None for text in (element.text, element.tail))
    width_in = figure.get_figwidth()
    if over is not None:
        root.extend(over(figure))
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "group" if over else "img",  # an image has no links in it
        "aria-label": label,
        "style": f"width:{width_in * PX_PER_IN:.0f}px",
    }
    text = ElementTree.tostring(root, encoding="unicode")
    return Markup(text.replace(INK, "currentColor"))


def places_in(figure: Figure, panel: Any, points_n2: np.ndarray) -> np.ndarray:
    """(n, 2) float64 where points of a panel lie in the SVG of the figure, once that is drawn."""
    pixels_n2 = panel.transData.transform(points_n2)
    pixels_n2[:, 1] = figure.bbox.height - pixels_n2[:, 1]
    return pixels_n2 * (72.0 / figure.dpi)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _refers_to(name: str, value: str) -> list[str]:
    """The ids that an attribute refers to."""
    return [value.removeprefix("#")] if name == "href" else re.findall(r"url\(#([^)]+)\)", value)


def _ids(root: ElementTree.Element, used: set[str]) -> list[str]:
    """The ids that something refers to, in the order of the document."""
    return [id_ for element in root.iter() if (id_ := element.attrib.get("id", "")) in used]


def _tidied(attributes: dict[str, str], ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Without namespaces, ids that nothing refers to, fonts and digits that nobody sees."""
    for key, value in attributes.items():
        name = _local(key)
        if name == "id":
            if value == "bar":
                yield "class", "bar"
            elif value in ids:
                yield "id", ids[value]
            continue
        if name == "transform" and value.startswith("rotate(-0 "):
            continue
        if name in ("x", "y", "d", "transform", "width", "height"):
            value = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
            value = " ".join(value.split())
        for old in _refers_to(name, value):
            value = value.replace(f"#{old}", f"#{ids[old]}")
        if name == "style":
            value = re.sub(r"font-family: [^;]+;? ?", "", value).replace(": ", ":").replace("; ", ";")
        yield name, value
