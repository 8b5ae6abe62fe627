"""The library beside libraries that are not ours: pandas, pyarrow, scikit-learn; and what it must not show or do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score

import guidestore as gs
from guidestore.flows.library.datasets import NOISE, two_views
from guidestore.flows.library.example_files import write_digits
from guidestore.flows.library.tables import Table
from tests.commandline import guidestore

ROOT = Path(__file__).parents[3]
CASES, CLASSES = 90, ("a", "b", "c")
SECRET = "Jane-Doe"
"""Part of every case id."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> gs.Store:
    """z_S tells the class, z_I half of it."""
    rng = np.random.default_rng(0)
    labels = np.arange(CASES) % 3
    ids = [f"{SECRET}-{case:03d}" for case in range(CASES)]
    z_s = np.eye(3)[labels] @ rng.normal(size=(3, 6)) * 2 + rng.normal(size=(CASES, 6)) * 0.3
    z_i = z_s[:, :4] + rng.normal(size=(CASES, 4))
    store = gs.open(tmp_path_factory.mktemp("library") / "store", create=True)
    with store.writing():
        frame = pd.DataFrame(z_i, columns=[f"f{d}" for d in range(4)], index=pd.Index(ids, name="case_id"))
        store.add_codes("made", "mri", "mine", frame)
        store.add_codes("made", "slide", "mine", z_s.astype(np.float32), pd.Series(ids))
        store.add_labels("made", pa.table({"case_id": ids, "grade": [CLASSES[label] for label in labels]}))
        store.add_split("made", folds=3)
    return store


@pytest.fixture(scope="module")
def data(store: gs.Store) -> gs.Data:
    return store.pair("made", "mri/mine", "slide/mine", target="grade")


@pytest.fixture(scope="module")
def study(store: gs.Store) -> gs.Study:
    named = {"inferior": "mri/mine", "superior": "slide/mine", "guidance": "ridge", "folds": [0, 1], "targets": "grade"}
    return store.guide("made", **named, decoder=["least_squares", "prototype"], permutations=1)


def test_no_repr_holds_an_id(store: gs.Store, data: gs.Data, study: gs.Study) -> None:
    run = study.runs.arrow().filter(pa.compute.field("row") == "I")["run"][0].as_py()
    head = gs.fit(data, decoder="least_squares")
    predicted = store.predict(run, cases=[f"{SECRET}-001"])
    asked = store.sql("SELECT case_id AS x, class FROM labels")
    compared = store.compare(*study.runs.df().query("row in ['I', 'S'] and control == '' and fold == 0")["run"][:2])
    shown = [store, data, study, head, study.plot, study.table(), data.table(), predicted, asked, compared, data.paired]
    shown += [compared.changed(), store.cohorts(), store.code_sets(), store.runs(), store.sql("FROM labels")]
    for of in shown:
        assert SECRET not in repr(of), type(of)
        assert len(repr(of)) < 12_000
    assert SECRET in predicted._repr_html_()
    assert SECRET not in store.sql("FROM labels")._repr_html_()
    assert SECRET in store.sql("SELECT case_id FROM labels")._repr_html_()
    assert SECRET in str(store.sql("SELECT case_id FROM labels"))


def test_what_a_table_shows_cannot_be_taken_for_html() -> None:
    table = Table.of_rows([{"<b>name": "<script>alert(1)</script>", "x": 1.0}], notes=["<i>note"])
    html = table._repr_html_()
    assert "<script" not in html
    assert "<b>name" not in html
    assert "<i>note" not in html


def test_tables_are_those_of_other_libraries(store: gs.Store) -> None:
    table = store.sql("SELECT fold, part, count(*) AS n FROM splits GROUP BY ALL ORDER BY ALL")
    frame, arrow = table.df(), table.arrow()
    assert frame.equals(pd.DataFrame(table.rows()).astype(frame.dtypes))
    assert np.shares_memory(frame["n"].to_numpy(), arrow["n"].chunk(0).to_numpy())
    assert pa.table(table).equals(arrow)
    own = table.df(copy=True)
    own.loc[0, "n"] = -1
    assert table["n"][0] > 0


def test_a_table_is_walked_row_by_row(store: gs.Store) -> None:
    table = store.code_sets()
    assert list(table) == table.rows()


def test_narwhals_and_duckdb_take_a_table_without_copying(store: gs.Store) -> None:
    import duckdb
    import narwhals as nw

    answer = store.sql("SELECT fold, part, count(*) AS n FROM splits GROUP BY ALL ORDER BY ALL")
    native = nw.from_arrow(answer, backend="pyarrow").to_native()
    for name in answer.columns:
        ours, theirs = (of[name].chunk(0).buffers() for of in (answer.arrow(), native))
        assert [b and b.address for b in ours] == [b and b.address for b in theirs], name
    assert duckdb.sql("SELECT sum(n) FROM answer").fetchall() == [(sum(answer["n"]),)]


def test_polars_takes_and_gives_tables_without_copying_numbers(store: gs.Store) -> None:
    pl = pytest.importorskip("polars")
    table = store.sql("SELECT fold, part, count(*)::BIGINT AS n FROM splits GROUP BY ALL ORDER BY ALL")
    frame = table.pl()
    assert frame.to_dicts() == table.rows()
    assert frame["n"].to_arrow().buffers()[1].address == table.arrow()["n"].chunk(0).buffers()[1].address
    codes = pl.DataFrame({"case_id": ["p0", "p1"], "f0": [0.5, 1.5], "f1": [2.0, 0.25]})
    assert store.add_codes("polars", "mri", "mine", codes)["codes"] == [2]


def test_without_polars_a_sentence_says_so(store: gs.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)  # as where it is not installed
    with pytest.raises(gs.InvalidInputError, match="polars is not installed"):
        store.cohorts().pl()


def test_sql_of_a_snapshot_and_after_a_commit_of_another(store: gs.Store) -> None:
    before = store.head
    other = gs.open(store.place)
    other.embeddings.tag("seen", before)
    assert store.sql("SELECT name, snapshot FROM (SELECT unnest([1]) AS x), (SELECT 'seen' AS name, 0 AS snapshot)")
    assert store.sql("FROM labels ORDER BY ALL", at="seen").rows() == store.sql("FROM labels ORDER BY ALL").rows()
    assert store.head > before
    with pytest.raises(gs.NotFoundInStoreError, match=r"'nobody' is unknown.*made"):
        store.runs("nobody")
    with pytest.raises(gs.InvalidInputError, match="read-only"):
        store.sql("DROP TABLE labels")


def test_codes_of_any_library_are_the_same_codes(store: gs.Store) -> None:
    import torch

    codes = np.random.default_rng(1).normal(size=(30, 3)).astype(np.float32)
    ids = [f"c{i}" for i in range(30)]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(codes.reshape(-1)), 3)
    forms = {
        "numpy": (codes, np.array(ids)),
        "torch": (torch.from_numpy(codes), ids),
        "lists": (pa.table({"case_id": ids, "code": flat}), None),
        "nested": (codes.tolist(), pa.array(ids)),
    }
    for name, (given, of) in forms.items():
        store.add_codes("forms", name, "mine", given, of)
    for name in forms:
        stored = store.embeddings.snapshot().codes(store.embeddings.snapshot().code_set(f"forms/{name}/mine"))
        order = np.argsort(ids)
        assert stored.case_ids == tuple(sorted(ids))
        np.testing.assert_array_equal(stored.codes_nd, codes[order])
    with pytest.raises(gs.InvalidInputError, match="29 case ids"):
        store.add_codes("forms", "short", "mine", codes, ids[:29])
    with pytest.raises(gs.InvalidInputError, match="float"):
        store.add_codes("forms", "floats", "mine", codes, np.arange(30) * 1.0)
    with pytest.raises(gs.InvalidInputError, match="numbers the rows"):
        store.add_codes("forms", "rows", "mine", np.arange(30)[:, None] * np.ones(2), ids)


def test_a_training_set_is_what_arrays_say(data: gs.Data) -> None:
    x_nd, y, ids = data.xy("test", "S+I")
    frame = data.df().loc[list(ids)]
    np.testing.assert_array_equal(x_nd[:, 6:], frame[[f"I_{d}" for d in range(4)]].to_numpy())
    np.testing.assert_array_equal(x_nd[:, :6], frame[[f"S_{d}" for d in range(6)]].to_numpy())
    assert [data.classes[label] for label in y] == frame["label"].tolist()
    assert set(frame["part"]) == {"test"}
    tensors = data.torch("test", "I")
    np.testing.assert_array_equal(tensors[3][0].numpy(), data.xy("test")[0][3])
    arrow = data.table().arrow()
    assert arrow["z_superior"].type == pa.list_(pa.float32(), 6)
    with pytest.raises(gs.InvalidInputError, match="only a fitted head has"):
        data.xy("train", "G(I)")


@pytest.mark.parametrize(
    ("row", "guidance", "decoder"),
    [
        *(("I", "ridge", "logistic"), ("S+I", "ridge", "least_squares"), ("G(I)", "ridge", "prototype")),
        *(("", "margins", "logistic"), ("T(I)", "ridge", "kernel"), ("E(I)", "ridge", "least_squares")),
    ],
)
def test_a_saved_head_is_the_head(data: gs.Data, tmp_path: Path, row: str, guidance: str, decoder: str) -> None:
    head = gs.fit(data, guidance, decoder, row)
    again = gs.load(head.save(tmp_path / "head"))
    x_nd, y, _ = data.xy("test", head.row if head.row in ("S+I", "S") else "I")
    sides = (x_nd[:, 6:], x_nd[:, :6]) if head.row == "S+I" else (x_nd,)
    probabilities = head.predict_proba(*sides)
    np.testing.assert_array_equal(again.predict_proba(*sides), probabilities)
    assert head.score("test")["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, head.predict(*sides)))
    assert again.score("test", data) == head.score("test")
    assert again.row == (row or "M(I)")
    with pytest.raises(gs.InvalidInputError, match="has no data of its own"):
        again.score("test")
    with pytest.raises(gs.InvalidInputError, match="there already"):
        head.save(tmp_path / "head")


def test_a_saved_head_predicts_in_another_process(data: gs.Data, tmp_path: Path) -> None:
    head = gs.fit(data, "ridge", "least_squares")
    x_nd = data.xy("test")[0]
    np.save(tmp_path / "x.npy", x_nd)
    head.save(tmp_path / "head")
    code = (
        "import sys, numpy as np, guidestore as gs; "
        "print(gs.load('head').predict_proba(np.load('x.npy')).tolist()); assert 'pickle' not in sys.argv"
    )
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    np.testing.assert_array_equal(json.loads(done.stdout), head.predict_proba(x_nd))


def test_columns_of_a_table_are_taken_by_their_names(store: gs.Store, data: gs.Data, study: gs.Study) -> None:
    head = gs.fit(data, "ridge", "least_squares")
    x_nd, _, ids = data.xy("test")
    expected = head.predict_proba(x_nd)
    named = pd.DataFrame(x_nd, columns=[f"f{d}" for d in range(4)], index=pd.Index(ids, name="case_id"))
    mixed = named.assign(age=50.0)[["f2", "age", "f0", "f3", "f1"]]
    shown = data.df().loc[list(ids), ["I_3", "I_0", "I_2", "I_1"]]
    for frame in (named, mixed, shown, pd.DataFrame(x_nd)[[1, 3, 2, 0]]):
        np.testing.assert_array_equal(head.predict_proba(frame), expected)
    with pytest.raises(gs.InvalidInputError, match="z_inferior has no column 'f0', which the head was fitted on"):
        head.predict_proba(named.rename(columns={"f0": "g0"}))
    run = study.runs.df().query("row == 'G(I)+I' and control == '' and fold == 0")["run"].iloc[0]
    told = [store.predict(run, codes=frame, encoder="mine").rows() for frame in (named, mixed)]
    assert told[0] == told[1]
    assert told[0] == store.predict(run, codes=x_nd, ids=ids, encoder="mine").rows()
    with pytest.raises(gs.InvalidInputError, match="codes has no column 'f0'"):
        store.predict(run, codes=named.drop(columns="f0"), encoder="mine")


def test_a_damaged_head_is_refused(data: gs.Data, tmp_path: Path) -> None:
    folder = gs.fit(data, "ridge", "least_squares").save(tmp_path / "head")
    card = json.loads((folder / "head.json").read_text())
    configs = card["configs"]
    decoder, classes = configs["decoder"], card["classes"]
    for change, match in (
        ({"format": 2}, "no format"),
        ({"classes": "abc"}, "classes"),
        ({"classes": [classes[0], classes[0]]}, "classes"),
        ({"classes": [*classes, "more"]}, f"foretells {len(classes) + 1} classes, and its decoder"),
        ({"kind": "value", "classes": []}, "foretells value, and its decoder"),
        ({"kind": "multilabel"}, f"foretells {len(classes)} labels, and its decoder"),
        ({"facts": {"horizon": "1"}}, "facts"),
        ({"seed": True}, "seed"),
        ({"superior_dim": 0}, "superior_dim"),
        ({"inferior_dim": 10**9}, "inferior_dim"),
        ({"configs": {}}, "configs"),
        ({"configs": {**configs, "../evil": {}}}, "configs"),
        ({"configs": {**configs, "decoder": {**decoder, "name": ["ridge"]}}}, "unknown"),
        ({"configs": {**configs, "decoder": {**decoder, "kind": {}}}}, "kind of target {} is unknown"),
        ({"inferior_dim": 7, "inferior_columns": []}, "dimensions|shape"),
        ({"inferior_columns": ["f0"]}, "inferior_columns"),
    ):
        (folder / "head.json").write_text(json.dumps({**card, **change}))
        with pytest.raises((gs.InvalidInputError, gs.CorruptArtifactError), match=match):
            gs.load(folder)
    (folder / "head.json").write_text(json.dumps({**card, "cohort": "made\x1b[2J"}))
    assert "\x1b" not in repr(gs.load(folder))
    (folder / "head.json").write_text(json.dumps(card))
    (folder / "decoder.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(gs.CorruptArtifactError, match="not the file that was saved"):
        gs.load(folder)
    with pytest.raises(gs.InvalidInputError, match="no saved head"):
        gs.load(tmp_path)


@pytest.mark.parametrize("kind", ["value", "survival", "multilabel", "ordinal"])
def test_heads_of_other_kinds_of_targets(
    store: gs.Store, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    z_s = store.pair("made", "mri/mine", "slide/mine", target="grade").paired
    noise = np.random.default_rng(3).normal(size=CASES) * 0.1
    hidden = z_s.superior_nd[:, :2].sum(axis=1) + noise  # the store refuses codes that are the target itself
    ids = list(z_s.case_ids)
    columns = {
        "value": {"value": hidden},
        "survival": {"days": np.exp(-hidden / 2) * 100, "dead": (np.arange(CASES) % 3 > 0).astype(int)},
        "multilabel": {"oedema": (hidden > 0).astype(int), "necrosis": (hidden > 1).astype(int)},
        "ordinal": {
            "ordinal": [["low", "mid", "high"][g] for g in np.digitize(hidden, np.quantile(hidden, [0.3, 0.6]))]
        },
    }[kind]
    said = {
        "value": {"kinds": {"value": "value"}, "units": {"value": "mm"}},
        "survival": {"survival": {"survival": ("days", "dead")}},
        "multilabel": {"multilabel": {"multilabel": ("oedema", "necrosis")}},
        "ordinal": {"kinds": {"ordinal": "ordinal"}, "classes": {"ordinal": ["low", "mid", "high"]}},
    }[kind]
    store.add_labels("made", {"case_id": ids, **columns}, **said)
    data = store.pair("made", "mri/mine", "slide/mine", target=kind)
    head = gs.fit(data, row="S")
    x_nd, y, _ = data.xy("test", "S")
    told = gs.load(head.save(tmp_path / kind)).predict(np.zeros((len(y), 4)), x_nd)
    assert head.kind == kind
    assert SECRET not in repr(data)
    if kind == "value":
        assert np.corrcoef(told, y)[0, 1] > 0.9
        assert head.unit == "mm"
    elif kind == "survival":
        assert np.corrcoef(told, -np.log(y[:, 0]))[0, 1] > 0.7
    elif kind == "multilabel":
        assert told.shape == y.shape
        assert told[y[:, 0] == 1, 0].mean() > told[y[:, 0] == 0, 0].mean() + 0.3
    else:
        assert (told == y).mean() > 0.7
        monkeypatch.setattr(gs.Head, "_said", lambda *_: np.array([[0.45, 0.1, 0.45]]))
        assert head.predict(np.zeros((1, 4)), x_nd[:1]).tolist() == [1]  # the middle, not the likeliest
        monkeypatch.undo()
    assert head.score("test")
    if kind in ("value", "survival"):
        with pytest.raises(gs.InvalidInputError, match="has no probabilities"):
            head.predict_proba(np.zeros((len(y), 4)), x_nd)


def test_codes_of_another_encoder_are_not_scored(store: gs.Store, data: gs.Data) -> None:
    head = gs.fit(data, "ridge", "least_squares")
    turned = store.pair("made", "slide/mine", "mri/mine", target="grade")
    with pytest.raises(gs.InvalidInputError, match="was fitted on made/mri/mine"):
        head.score("test", turned)
    with pytest.raises(gs.InvalidInputError, match=r"\(n, 4\)"):
        head.predict_proba(np.zeros((2, 5)))


def test_a_study_says_what_the_command_says(store: gs.Store, study: gs.Study) -> None:
    assert len(study.verdicts) == 4
    table, effects = study.table().df(), study.effects().df()
    done = guidestore("evaluate", "made", "--format", "json", "--store", store.place)
    assert done.returncode == 0, done.stderr
    printed = pd.DataFrame(json.loads(done.stdout))
    pd.testing.assert_series_equal(table["auroc_mean"], printed["auroc_mean"])
    assert sorted(table["verdict"].dropna()) == sorted(printed["verdict"].dropna())
    assert set(effects["verdict"]) == set(study.verdicts.values())
    scores = store.sql(
        "SELECT avg(value) AS x FROM metrics WHERE row = 'I' AND decoder = 'prototype' "
        "AND control = '' AND metric = 'auroc' AND part = 'test'"
    )["x"]
    of_i = table.query("row == 'I' and row_decoder == 'prototype'")["auroc_mean"]
    assert of_i.iloc[0] == pytest.approx(scores[0])
    again = store.guide(
        "made",
        inferior="mri/mine",
        superior="slide/mine",
        guidance="ridge",
        folds=[0, 1],
        decoder="prototype",
        permutations=1,
        targets="grade",
    )
    assert set(again.runs["run"]) < set(study.runs["run"])
    with pytest.raises(gs.InvalidInputError, match="guidance 'rigde' is unknown"):
        store.guide("made", inferior="mri/mine", superior="slide/mine", guidance="rigde", targets="grade")


def test_the_report_is_about_the_study(store: gs.Store, tmp_path: Path) -> None:
    own = store.guide(
        "made",
        inferior="mri/mine",
        superior="slide/mine",
        guidance="ridge",
        folds=[0, 1],
        decoder="prototype",
        permutations=1,
        targets="grade",
    )
    text = own.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "prototype" in text
    assert "least_squares" not in text
    with pytest.raises(gs.InvalidInputError, match="a report is about test"):
        store.evaluate("made", part="val", decoder="prototype").report(tmp_path / "val.html")


def test_figures_are_files_of_three_kinds(study: gs.Study, tmp_path: Path) -> None:
    figure = study.plot.gains()
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    for suffix, start in starts.items():
        figure.savefig(tmp_path / f"gains.{suffix}")
        assert (tmp_path / f"gains.{suffix}").read_bytes().startswith(start)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    with pytest.raises(gs.InvalidInputError, match="there is no block 3"):
        study.plot.bars(3)


def test_what_changed_between_two_snapshots(store: gs.Store) -> None:
    before = store.head
    store.add_codes("later", "mri", "mine", np.random.default_rng(2).normal(size=(8, 2)), [f"l{i}" for i in range(8)])
    there = {(row["kind"], row["cohort"]): row for row in store.diff(before).rows()}
    assert there["codes", "later"]["added"] == 8
    assert there["cases", "later"]["added"] == 8
    back = {(row["kind"], row["cohort"]): row for row in store.diff(store.head, before).rows()}
    assert back["codes", "later"]["removed"] == 8
    done = guidestore("diff", before, store.head, "--format", "csv", "--store", store.place)
    assert "codes,later,mri,mine,8,0" in done.stdout.splitlines()


def test_the_two_views_are_the_digits() -> None:
    views, bunch = two_views(), load_digits()
    np.testing.assert_array_equal(views.full_nd, bunch.data)
    assert list(map(int, views.labels)) == bunch.target.tolist()
    blocks = bunch.images.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 4).mean(axis=2)
    noise = views.blurred_nd - blocks
    assert abs(noise.mean()) < 0.05
    assert noise.std() == pytest.approx(NOISE, rel=0.02)


def test_the_files_of_the_example_are_the_cohort(tmp_path: Path) -> None:
    done = guidestore("example", "digits", "--dir", tmp_path / "digits")
    assert done.returncode == 0, done.stderr
    told = {line.split("guidestore ")[1].split()[0] for line in done.stdout.splitlines() if "guidestore " in line}
    assert told >= {"import", "cohort", "guide", "sweep"}
    files, views = write_digits(tmp_path / "digits").files, two_views()
    assert all(str(file) in done.stdout for file in files)
    blurred = pd.read_csv(tmp_path / "digits/blurred.csv", index_col="case_id")
    np.testing.assert_array_equal(blurred.to_numpy(np.float32), views.blurred_nd)
    tested = pd.read_csv(tmp_path / "digits/splits.csv").query("part == 'test'")
    assert sorted(tested["case_id"]) == sorted(views.case_ids)


def test_importing_it_loads_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import guidestore; "
        "assert not {'numpy', 'pandas', 'torch', 'pyarrow', 'pydantic', 'typer'} & (set(sys.modules) - before); "
        "assert 'fit' in dir(guidestore); guidestore.GuidestoreError"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = gs.fitt  # pyright: ignore[reportAttributeAccessIssue]


def test_labels_and_groups_are_told_and_corrected_in_python(tmp_path: Path) -> None:
    """What a sentence advises is there as an argument, and what was changed is said."""
    store, ids = gs.open(tmp_path / "store", create=True), [f"p{i}" for i in range(12)]
    store.add_codes("c", "mri", "e", np.random.default_rng(0).normal(size=(12, 3)), ids)
    grades = pd.DataFrame({"record": ids, "grade": ["low", "high"] * 6, "ward": range(12)})
    grades.loc[1, "grade"] = "HIGH"
    told: dict[str, Any] = {"id_column": "record", "drop": ["ward"]}
    with pytest.raises(gs.InvalidInputError, match="may be one class; `merge`"):
        store.add_labels("c", grades, **told)
    added = store.add_labels("c", grades, **told, merge={"grade": ["high", "HIGH"]})
    counts = {"targets": 1, "classes": 2, "labels": 12}
    assert {row["what"]: row["added"] for row in added.rows()} == counts
    grades["grade"] = ["low", "unclear", *["low", "high"] * 4, "high", "high"]
    changed = store.add_labels("c", grades, **told, missing=["unclear"], replace=True)
    assert changed.notes[0] == "labels changed: p1 grade: high is now no label; p10 grade: low is now high"
    patients = pd.DataFrame({"case_id": ids, "patient": [f"h{i // 2}" for i in range(12)]})
    with pytest.raises(gs.InvalidInputError, match="name it with `group`"):
        store.add_split("c", folds=2, groups=patients)
    store.add_split("c", folds=2, group="patient", groups=patients)
    rows = store.sql("SELECT fold, case_id, part FROM splits").df().merge(patients, on="case_id")
    assert set(rows.groupby(["fold", "patient"])["part"].nunique()) == {1}
