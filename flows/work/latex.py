"""Tables as LaTeX with booktabs. What a cell holds is text: nothing in a name is taken for a command."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\u2013": "--",
    "\u2212": "$-$",
    "\u2026": r"\ldots{}",
    "\u00b1": r"$\pm$",
    "\u00b2": r"\textsuperscript{2}",
    "\u03ba": r"$\kappa$",
    "\u03c1": r"$\rho$",
    "\u0394": r"$\Delta$",
    "\u00d7": r"$\times$",
    "\u2192": r"$\rightarrow$",
}
_NEGATIVE = re.compile(r"(?<![\w-])-(?=\.?\d)")
_PREAMBLE = "% Needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}.\n"


def escaped(text: str) -> str:
    """Text as LaTeX prints it, on one line; a minus before a number is one."""
    spaced = "".join(sign if sign.isprintable() else " " for sign in text)
    pieces = _NEGATIVE.split(" ".join(spaced.split()))
    return "$-$".join("".join(_SIGNS.get(sign, sign) for sign in piece) for piece in pieces)


def latex_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    label: str,
    notes: Sequence[str] = (),
    align: str = "",
) -> str:
    """A `table` with its caption above and its notes below; every row has as many cells as the header.

    A cell of several lines, parted by a line feed, stands on several lines. label: small letters, digits, dashes and
    colons. align: of `tabular`; '' for the first column left and the others right.
    """
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption)}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{{align or 'l' + 'r' * (len(header) - 1)}}}",
        r"    \toprule",
        f"    {' & '.join(map(escaped, header))} \\\\",
        r"    \midrule",
        *(f"    {line}" for row in rows for line in _lines(row)),
        r"    \bottomrule",
        r"  \end{tabular}",
        *(rf"  \par\smallskip\footnotesize {escaped(note)}" for note in notes),
        r"\end{table}",
    ]
    return _PREAMBLE + "\n".join(lines) + "\n"


def _lines(row: Sequence[str]) -> list[str]:
    cells = [cell.split("\n") for cell in row]
    deep = max(map(len, cells))
    padded = [[*cell, *[""] * (deep - len(cell))] for cell in cells]
    return [f"{' & '.join(escaped(cell[line]) for cell in padded)} \\\\" for line in range(deep)]
