"""Rows of text as lines of a width: a table where it fits, cells in two lines where they must, else a block a row.

Nothing is cut off. A word is broken only in a block, and only where it is longer than the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len, chop_cells

GAP = 2
"""Blanks between columns."""
MOST_LINES = 2
"""Of a row of a table; rows that need more become blocks."""
_INDENT = " " * 4
WHOLE = "verdict"
"""The column that comes first and is never broken: it is what people look for."""
_BREAKS = re.compile(r"(?<=[/,;@=])(?=[^\s/,;@=])")
"""Within a word: after what joins names."""

Line = list[str]
"""A row's cells, in the order of columns."""


def verdict_first(columns: Sequence[str]) -> list[int]:
    """The places of the columns, as they are shown."""
    return sorted(range(len(columns)), key=lambda place: columns[place] != WHOLE)


def as_lines(
    columns: Sequence[str],
    rows: Sequence[Line],
    *,
    numeric: Sequence[bool],
    width: int | None,
    bold: Callable[[str], str] = str,
    rule: str = "-",
    most_lines: int = MOST_LINES,
    below: bool = False,
) -> Iterator[str]:
    """The lines of a table.

    numeric: of each column, whether it stands to the right. width: in characters; None: each row is one line, however
    long. bold: what a heading is passed through. rule: of what the line below headings is. most_lines: of a row.
    below: the last column may stand below the others, where there is no room beside them.
    """
    natural = [max([cell_len(name), *(cell_len(row[place]) for row in rows)]) for place, name in enumerate(columns)]
    has_room = width is None or sum(natural) + GAP * (len(columns) - 1) <= width
    if width is not None and below and not has_room and sum(natural[:-1]) + GAP * (len(columns) - 2) <= width:
        yield from _with_last_below(columns, rows, numeric, width, bold, rule)
        return
    if width is not None and (not has_room or any("\n" in cell for row in rows for cell in row)):
        fitted = _fitted(columns, rows, numeric, width, most_lines)
        if fitted is None:
            yield from _blocks(columns, rows, width, bold, rule)
            return
        natural = fitted
    yield from _joined([wrapped(name, w) for name, w in zip(columns, natural, strict=True)], natural, numeric, bold)
    yield rule * (sum(natural) + GAP * (len(columns) - 1))
    for row in rows:
        cells = [wrapped(cell, w) if width is not None else [cell] for cell, w in zip(row, natural, strict=True)]
        yield from _joined(cells, natural, numeric, str)


def _with_last_below(
    columns: Sequence[str],
    rows: Sequence[Line],
    numeric: Sequence[bool],
    width: int,
    bold: Callable[[str], str],
    rule: str,
) -> Iterator[str]:
    heading, _, *lines = as_lines(columns[:-1], [row[:-1] for row in rows], numeric=numeric[:-1], width=None)
    yield from (bold(heading), bold(_INDENT + columns[-1]), rule * width)
    for row, line in zip(rows, lines, strict=True):
        yield line
        yield from (_INDENT + part for part in wrapped(row[-1], width - len(_INDENT)) if part)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of a width, broken between words, else where names are joined, else anywhere."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            joined = f"{line} {word}" if line else word
            if cell_len(joined) <= width:
                line = joined
                continue
            lines += [line] if line else []
            *full, line = _folded(word, width)
            lines += full
        lines.append(line)
    return lines


def _folded(word: str, width: int) -> list[str]:
    """A word that may be longer than the line."""
    lines, line = [], ""
    for piece in _BREAKS.split(word):
        if cell_len(line + piece) <= width:
            line += piece
            continue
        lines += [line] if line else []
        *full, line = chop_cells(piece, width) if cell_len(piece) > width else [piece]
        lines += full
    return [*lines, line]


def _joined(
    cells: Sequence[list[str]], widths: Sequence[int], numeric: Sequence[bool], look: Callable[[str], str]
) -> Iterator[str]:
    for number in range(max(map(len, cells), default=0)):
        parts = [lines[number] if number < len(lines) else "" for lines in cells]
        blanks = [" " * (width - cell_len(part)) for part, width in zip(parts, widths, strict=True)]
        set_ = [gap + part if right else part + gap for part, gap, right in zip(parts, blanks, numeric, strict=True)]
        yield look((" " * GAP).join(set_).rstrip())


def _fitted(
    columns: Sequence[str], rows: Sequence[Line], numeric: Sequence[bool], width: int, most_lines: int
) -> list[int] | None:
    """How wide each column is where no row has more than `most_lines` lines; None where that cannot be."""
    least, most = [], []
    for place, name in enumerate(columns):
        cells = [row[place] for row in rows]
        if name == WHOLE or numeric[place]:
            needed = max([_longest_piece(name), *map(cell_len, cells)])
            least.append(needed)
        else:
            low = max([_longest_piece(name), *map(_longest_piece, cells)])
            high = max([low, *(cell_len(line) for cell in cells for line in cell.split("\n"))])
            least.append(next((w for w in range(low, high) if _lines(cells, w) <= most_lines), high))
        most.append(max([cell_len(name), *(cell_len(line) for cell in cells for line in cell.split("\n"))]))
    left = width - sum(least) - GAP * (len(columns) - 1)
    if left < 0:
        return None
    widths = list(least)
    for place in sorted(range(len(columns)), key=lambda place: most[place] - least[place]):
        more = min(left, most[place] - widths[place])
        widths[place] += more
        left -= more
    return widths


def _lines(cells: Sequence[str], width: int) -> int:
    return max((len(wrapped(cell, width)) for cell in cells if cell_len(cell) > width or "\n" in cell), default=1)


def _longest_piece(text: str) -> int:
    return max((cell_len(piece) for word in text.split() for piece in _BREAKS.split(word)), default=0)


def _blocks(
    columns: Sequence[str], rows: Sequence[Line], width: int, bold: Callable[[str], str], rule: str
) -> Iterator[str]:
    """A block a row: a line for each value that there is, or several."""
    names = min(max(map(cell_len, columns)), width // 2)
    for number, row in enumerate(rows, 1):
        yield f"{rule * 2} {number} of {len(rows)} ".ljust(min(width, 40), rule)
        for name, cell in zip(columns, row, strict=True):
            values = wrapped(cell, width - names - GAP)
            for place, heading in enumerate(wrapped(name, names)):
                value = values[place] if place < len(values) else ""
                blanks = " " * (names - cell_len(heading) + GAP)
                yield (bold(heading) + blanks + value).rstrip()
            yield from (" " * (names + GAP) + value for value in values[len(wrapped(name, names)) :])
