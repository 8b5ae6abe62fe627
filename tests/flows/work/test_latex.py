"""Tables as LaTeX: a cell holds text, a table has as many cells as it says; compiled where there is a TeX."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from guidestore.flows.work.latex import escaped, latex_table

NAMES = (r"\input{/etc/passwd}", "100 % $x^2$ & _y_ #1 ~ {z}", 'a|b <c> "d"', "κ² ± ρ – Δ", "line\u2028break\x07")
"""What would be a command, a comment or a new line."""


def plain(latex: str) -> str:
    """What is printed, by hand: only the commands that `escaped` may write."""
    said = {
        r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textless{}": "<",
        r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', r"\ldots{}": "…", r"$\pm$": "±",
        r"\textsuperscript{2}": "²", r"$\kappa$": "κ", r"$\rho$": "ρ", r"$\Delta$": "Δ", "--": "–", "$-$": "-",
        **{rf"\{sign}": sign for sign in "{}$&#%_"},
    }  # fmt: skip
    pattern = re.compile("|".join(map(re.escape, sorted(said, key=len, reverse=True))))
    assert not re.search(r"[\\$&#%_^~{}]", pattern.sub("", latex)), latex
    return pattern.sub(lambda found: said[found[0]], latex)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_as_they_are(name: str) -> None:
    assert plain(escaped(name)) == " ".join("".join(s if s.isprintable() else " " for s in name).split())


def test_a_minus_is_one_before_numbers_alone() -> None:
    assert escaped("-0.5 [-1, +.3] mri-2 a-b") == "$-$0.5 [$-$1, +.3] mri-2 a-b"


def test_a_table_has_its_cells_and_compiles(tmp_path: Path) -> None:
    rows = [[name, "0.5\n[0.1, 0.9]", "-1"] for name in NAMES]
    text = latex_table(["input", "AUROC", "n"], rows, caption="One & all", label="tab:one", notes=["50 %"])
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    lines = [line.strip() for line in body.splitlines()[1:] if line.strip()]
    assert len(lines) == 2 * len(NAMES)
    for line in lines:
        assert line.endswith(r"\\")
        assert len(re.findall(r"(?<!\\)&", line)) == 2
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert r"\caption{One \& all}" in text
    if shutil.which("pdflatex"):
        head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{textcomp,booktabs}\begin{document}"
        (tmp_path / "t.tex").write_text(f"{head}\n{text}\\end{{document}}\n", encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout[-2000:]
