"""What a flow run shows of its result."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guidestore.embeddings.outcomes import TargetKind
from guidestore.flows.results.evaluation import TableRow
from guidestore.flows.serving import figure_files
from guidestore.flows.serving.artifacts import bars, result_row
from guidestore.heads.metrics import drawn_metrics

FIRST = {
    "classes": "balanced accuracy",
    "ordinal": "quadratic kappa",
    "multilabel": "macro AUROC",
    "value": "R²",
    "survival": "Uno's C",
}


@pytest.mark.parametrize("kind", FIRST)
def test_rows_of_every_kind_are_drawn_in_its_first_metric(kind: TargetKind) -> None:
    names = list(drawn_metrics(kind))
    head: Any = SimpleNamespace(row="I", control="", target="t", mode="matched")
    rows = [
        TableRow(head, str(mean), (), dict.fromkeys(names, mean), dict.fromkeys(names, sd), kind)
        for mean, sd in ((0.7, 0.1), (-0.2, float("nan")))
    ]
    (panel,) = bars(cast(Any, SimpleNamespace(rows=rows)), "made").axes
    assert panel.get_xlabel() == f"{FIRST[kind]} on test, mean ± sd"
    assert [bar.get_width() for bar in panel.patches] == [0.7, -0.2]
    assert panel.get_xlim()[0] <= -0.2
    assert "0.700 ± 0.100" in result_row(rows[0], None, "I").values()


def test_a_figure_is_a_file_at_an_address_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody would hand it out, it is within the address."""
    monkeypatch.setattr(figure_files, "figures_folder", lambda: tmp_path)
    monkeypatch.delenv("GUIDESTORE_PAGE_URL", raising=False)
    assert figure_files.address_of(b"png") == "data:image/png;base64,cG5n"
    monkeypatch.setenv("GUIDESTORE_PAGE_URL", "/explore/")
    address = figure_files.address_of(b"png")
    assert address == figure_files.address_of(b"png")
    assert address.startswith("/explore/figures/")
    (file,) = tmp_path.iterdir()
    assert (file.name, file.read_bytes()) == (address.rpartition("/")[2], b"png")
