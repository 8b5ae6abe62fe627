"""The study of false verdicts: that it goes on where it stopped, and its rates on a part of it (`make slow`)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from guidestore.heads.significance.guidance_effect import HELPS
from tests.evidence import __main__ as study
from tests.evidence.__main__ import Cell, added_to, judged, known, missing, table
from tests.evidence.cohorts import KINDS, NULLS, cohort


@pytest.mark.parametrize("kind", KINDS)
def test_a_cohort_is_the_same_whenever_it_is_made_and_z_s_is_what_its_kind_says(kind: str) -> None:
    first, again = cohort(kind, 400, 3), cohort(kind, 400, 3)
    np.testing.assert_array_equal(first.superior_nd, again.superior_nd)
    assert not np.array_equal(first.inferior_nd, cohort(kind, 400, 4).inferior_nd)
    z_i, z_s, y = (first.inferior_nd, first.superior_nd, first.labels)
    of_label = np.abs(np.corrcoef(z_s.T, y)[-1, :-1]).max()
    design = np.c_[z_i, np.ones(len(y))]
    left = z_s - design @ np.linalg.lstsq(design, z_s, rcond=None)[0]
    foretold = 1 - left.var(axis=0).sum() / z_s.var(axis=0).sum()
    if kind in ("independent noise", "permuted z_S"):
        assert of_label < 0.2
        assert foretold < 0.15
    elif kind == "one code set twice":
        assert foretold == pytest.approx(1.0)
    elif kind == "linear function of z_I":
        assert foretold > 0.8
    elif kind == "class alone":
        assert of_label > 0.35


def test_a_study_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "SEEDS", (1,))
    file, cells = tmp_path / "evidence.jsonl", [Cell(number, "class alone", 60, "closed-form") for number in range(2)]
    lines = judged(cells[0])
    assert {line["row"] for line in lines} == {"G(I)", "G(I)+I", "T(I)", "M(I)", "P(I)"}
    assert all(line["verdict"] != "–" for line in lines)
    import json

    whole = "".join(json.dumps(line) + "\n" for line in lines)
    file.write_text(whole + '{"number": 1, "kind": "cl', encoding="utf-8")
    assert known(file) == lines
    assert list(missing(file, cells)) == cells[1:]
    with added_to(file) as more:
        more.write(whole)
    assert known(file) == [*lines, *lines]
    assert len(table(lines).splitlines()) == 2 + 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", NULLS)
def test_guidance_that_cannot_help_is_hardly_ever_said_to(kind: str) -> None:
    """The lower end of the Clopper-Pearson interval of 25 cohorts lies below .05 for every row."""
    helped: Counter[str] = Counter()
    for number in range(25):
        helped.update(
            f"{x['row']}, {x['seeds']} seeds"
            for x in judged(Cell(number, kind, 165, "closed-form"))
            if x["verdict"] == HELPS
        )
    assert all(binomtest(n, 25).proportion_ci().low <= 0.05 for n in helped.values()), helped
