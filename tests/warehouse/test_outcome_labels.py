"""Outcomes of every kind from tables as people have them: what is stored, what is noted, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import KINDS, Target
from guidestore.embeddings.pairing import outcomes_of
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.cohort import CohortReport, CohortTables, add_cohort
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest

CASES = [f"P{i:02d}" for i in range(60)]


@pytest.fixture
def cohort(store: EmbeddingStore) -> EmbeddingStore:
    add_cohort(store, CohortTables("c", cases=[{"case_id": case} for case in CASES]))
    return store


def add(
    store: EmbeddingStore, folder: Path, columns: dict[str, list], suffix: str = "csv", **said: Any
) -> CohortReport:
    replace = said.pop("replace", False)
    n = len(next(iter(columns.values())))
    frame = pd.DataFrame({"case_id": CASES[:n], **columns})
    file = folder / f"labels.{suffix}"
    {"csv": frame.to_csv, "parquet": frame.to_parquet, "xlsx": frame.to_excel}[suffix](file, index=False)
    return add_layout(store, "c", Manifest(labels=file, **said), supersede=replace)


def stored(store: EmbeddingStore, target: str) -> tuple[Target, np.ndarray]:
    of, outcomes = outcomes_of(store.snapshot(), "c", target, KINDS)
    return of, of.y_of(outcomes, CASES)


def notes(report: CohortReport) -> dict[str, str]:
    return {issue.kind: issue.sentence for issue in report.issues}


OS: dict[str, Any] = {"survival": ("os=t,e",), "unit": ("os=months",)}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "xlsx"])
@pytest.mark.parametrize("events", [[1, 0, 1], [True, False, True], [1.0, 0.0, 1.0], ["TRUE", "FALSE", "TRUE"]])
def test_survival_comes_from_two_columns(cohort, tmp_path, suffix, events):
    report = add(cohort, tmp_path, {"t": [3.5, 12, 7], "e": events}, suffix, **OS)
    target, y = stored(cohort, "os")
    assert target == Target("os", "survival", unit="months")
    np.testing.assert_array_equal(y[:3], [[3.5, 1], [12, 0], [7, 1]])
    assert np.isnan(y[3:]).all()
    assert (report.targets, report.added["labels"], notes(report)) == (1, 3, {})
    assert add(cohort, tmp_path, {"t": [3.5, 12, 7], "e": events}, suffix, **OS).snapshot == report.snapshot


@pytest.mark.parametrize(
    ("events", "option", "wanted"),
    [
        (["dead", "alive", "dead"], (), [1, 0, 1]),
        (["1:DECEASED", "0:LIVING", "1:DECEASED"], (), [1, 0, 1]),
        ([2, 1, 2], ("os=2",), [1, 0, 1]),
        ([0, 1, 2], ("os=2",), [0, 0, 1]),
        ([0, 1, 2], ("os=1,2",), [0, 1, 1]),
        (["relapsed", "well", "lost"], ("os=relapsed",), [1, 0, 0]),
    ],
)
def test_words_of_events_are_taken_with_a_sentence(cohort, tmp_path, events, option, wanted):
    report = add(cohort, tmp_path, {"t": [3, 4, 5], "e": events}, event=option, **OS)
    assert stored(cohort, "os")[1][:3, 1].tolist() == wanted
    assert "is taken for the event of os" in notes(report)["words of events"]


@pytest.mark.parametrize(
    ("times", "events", "sentence"),
    [
        ([3, 0, -2], [1, 1, 0], r"row 3, column t: 2 times not above 0 \(P01 0, P02 -2\); blank out"),
        ([3, float("inf"), 2], [1, 1, 0], "row 3, column t: inf is no time"),
        ([3, "soon", 2], [1, 1, 0], r"row 3, column t: 'soon' is no number"),
        ([3, 4, 2], [1, 2, 1], r"the events are '1' \(2\), '2' \(1\), and not 0 and 1; --event os=2"),
        ([3, 4, 2], [0, 1, 2], "competing causes, .*--event os=1 takes 1"),
        ([3, 4, 2], [0, 0.5, 1], "nobody said which of"),
        ([3, 4, 2], ["well", "gone", "well"], r"row 2, column e: nobody said which of 'gone' \(1\), 'well' \(2\)"),
    ],
)
def test_times_and_events_that_cannot_be_are_refused(cohort, tmp_path, times, events, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        add(cohort, tmp_path, {"t": times, "e": events}, **OS)


@pytest.mark.parametrize("column", ["censored", "OS_CENSOR", "censorship", "alive", "survived", "event_free"])
@pytest.mark.parametrize(
    ("words", "event"), [([1, 0, 1], "0"), ([True, False, True], "False"), (["yes", "no", "yes"], "no")]
)
def test_an_event_whose_column_may_say_the_opposite_is_asked_about(cohort, tmp_path, column, words, event):
    columns, survival = {"t": [3, 4, 5], column: words}, (f"os=t,{column}",)
    with pytest.raises(InvalidInputError, match=rf"nobody can tell which .*--event 'os={event}' takes {event} for it"):
        add(cohort, tmp_path, columns, survival=survival)
    add(cohort, tmp_path, columns, survival=survival, event=(f"os={event}",))
    assert stored(cohort, "os")[1][:3, 1].tolist() == [0, 1, 0]


def test_words_that_say_what_they_mean_need_no_name_of_a_column(cohort, tmp_path):
    columns = {"t": [3, 4, 5, 6], "cens": ["censored", "Dead", "alive", "dead"]}
    add(cohort, tmp_path, columns, survival=("os=t,cens",))
    assert stored(cohort, "os")[1][:4, 1].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "xlsx"])
@pytest.mark.parametrize("times", [pd.to_datetime(["2020-01-31", "2021-03-02"]), ["31.01.2020", "02.03.2021"]])
def test_a_date_is_no_time(cohort, tmp_path, suffix, times):
    with pytest.raises(InvalidInputError, match="is a date or a duration of a program's own; give the time from the"):
        add(cohort, tmp_path, {"t": times, "e": [1, 0]}, suffix, **OS)


@pytest.mark.parametrize(
    ("times", "unit", "sentence"),
    [
        ([24, 12, 3650], "months", "times of os reach 3650 months, which no life has"),
        ([24, 12, 3650], "days", ""),
        ([24, 12, 130.5], "Year", "times of os reach 130.5 Year"),
        ([2019, 2021, 1987], "", "all times of os look like years of a calendar"),
        ([2019.5, 2021, 1987], "", ""),
        ([12, 12, 12], "months", "all 3 times of os are 12, so that nobody can be told to be sooner than others"),
    ],
)
def test_times_that_hardly_can_be_are_noted(cohort, tmp_path, times, unit, sentence):
    said = {"survival": ("os=t,e",), "unit": (f"os={unit}",) if unit else ()}
    assert notes(add(cohort, tmp_path, {"t": times, "e": [1, 0, 1]}, **said)).get("odd times", "").startswith(sentence)
    assert stored(cohort, "os")[1][:3, 0].tolist() == times


def test_a_case_with_two_outcomes_is_told_in_words(cohort, tmp_path):
    file = tmp_path / "twice.csv"
    pd.DataFrame({"case_id": ["P00", "P00"], "t": [1.5, 2.0], "e": [1, 0]}).to_csv(file, index=False)
    with pytest.raises(InvalidInputError, match=r"P00 is 2 without the event here and 1\.5 with the event in row 2"):
        add_layout(cohort, "c", Manifest(labels=file, **OS))


def test_survival_that_nothing_can_be_learnt_of_is_told(cohort, tmp_path):
    report = add(cohort, tmp_path, {"t": [3, 4, 5, None], "e": [0, 0, None, 1]}, survival=("os=t,e",))
    said = notes(report)
    assert said["all censored"].startswith("all 2 cases of os are censored")
    assert said["no unit"] == "nobody said the unit of os; --unit os=UNIT keeps it with the numbers"
    halves = [issue.sentence for issue in report.issues if issue.kind == "half an outcome"]
    assert halves == [
        "1 case with a time and no event in e (P02): without outcome of os",
        "1 case with an event and no time in t (P03): without outcome of os",
    ]
    said = add(cohort, tmp_path, {"t": [3, 4], "e": [0, 0]}, **OS)
    assert said.changed == {"targets": ("os is in months",)}
    assert stored(cohort, "os")[0].unit == "months"
    with pytest.raises(InvalidInputError, match="is in months in the store, not in days"):
        add(cohort, tmp_path, {"t": [3, 4], "e": [0, 0]}, survival=("os=t,e",), unit=("os=days",))
    with pytest.raises(InvalidInputError, match=r"P00 of cohort c is '3, event' in os and '3, censored' in the store"):
        add(cohort, tmp_path, {"t": [3], "e": [1]}, **OS)
    changed = add(cohort, tmp_path, {"t": [3, None], "e": [1, None]}, replace=True, **OS)
    assert changed.changed == {"labels": ("P00 os: 3, censored is now 3, event", "P01 os: 4, censored is now no label")}


def test_columns_of_a_time_and_its_event_are_pointed_at(cohort, tmp_path):
    columns = {"OS_MONTHS": np.linspace(0.5, 90, 60).round(1).tolist(), "OS_STATUS": ["a", "b"] * 30}
    said = notes(add(cohort, tmp_path, columns))
    assert "--survival 'OS=OS_MONTHS,OS_STATUS' makes them one target" in said["survival?"]
    assert said["taken for values"].startswith("column OS_MONTHS holds 60 different numbers and is taken for a meas")
    assert stored(cohort, "OS_MONTHS")[0].kind == "value"


@pytest.mark.parametrize("order", [None, ("stage=1,2,3,4",)])
def test_grades_are_ordered_as_numbers_or_as_told(cohort, tmp_path, order):
    said = {"order": order} if order else {"kind": ("stage=ordinal",)}
    report = add(cohort, tmp_path, {"stage": [4, 1, 2, 1]}, **said)
    target, y = stored(cohort, "stage")
    assert target == Target("stage", "ordinal", ("1", "2", "3", "4") if order else ("1", "2", "4"))
    assert y[:4].tolist() == ([3, 0, 1, 0] if order else [2, 0, 1, 0])
    if order:
        assert notes(report) == {"unused grades": "no case is of grade 3 of stage"}
    else:
        assert "the grades of stage skip 3" in notes(report)["skipped grades"]
        assert "--order stage=1,2,3,4" in notes(report)["skipped grades"]
        with pytest.raises(InvalidInputError, match="has the grades 1, 2, 4 and cannot take 1, 2, 3, 4"):
            add(cohort, tmp_path, {"stage": [4, 1, 2, 1, 3]}, **said)
    assert add(cohort, tmp_path, {"stage": [4, 1, 2, 1, 5]}).added["labels"] == 1, "a grade after the others"


@pytest.mark.parametrize(
    ("said", "cells", "code"),
    [
        ({"kind": ("v=value",)}, [31.5, 999, 64.25, 40.0, 999], "999"),
        ({"kind": ("v=value",)}, [0, 12.5, -1, 40.0, -1], "-1"),
        ({"kind": ("v=ordinal",)}, [0, 1, -1, 2, -1], "-1"),
        ({"kind": ("v=classes",)}, [0, 1, 9, 0, 9], "9"),
        ({"survival": ("v=t,e",), "unit": ("v=months",)}, [3.5, 9999, 20.0, 41.0, 9999], "9999"),
        ({"kind": ("v=value",)}, [96.5, 97.5, 98.5, 99, 99], None),
        ({"kind": ("v=value",)}, [-2.5, -1, 0.5, 1.5, -1], None),
        ({"kind": ("v=classes",)}, [1, -1, 1, -1, 1], None),
        ({"kind": ("v=value",)}, [31.5, 999, 64.25, 40.0, 52.0], None),
    ],
)
def test_codes_that_may_mean_missing_are_noted_and_kept_until_told(cohort, tmp_path, said, cells, code):
    columns = {"t": cells, "e": [1, 0, 1, 0, 1]} if "survival" in said else {"v": cells}
    report = add(cohort, tmp_path, columns, **said)
    assert report.added["labels"] == 5
    if code is None:
        assert "missing?" not in notes(report)
        return
    assert notes(report)["missing?"].startswith(f"2 cases have {code} of v, apart from the others")
    assert f"--missing=default,{code} leaves" in notes(report)["missing?"]
    add(cohort, tmp_path, columns, **said, missing=("default", code), replace=True)
    known = [case for case, cell in zip(CASES, cells, strict=False) if str(cell) != code]
    assert sorted(outcomes_of(cohort.snapshot(), "c", "v", KINDS)[1]) == known


@pytest.mark.parametrize("suffix", ["csv", "parquet", "xlsx"])
def test_a_number_that_means_missing_does_so_however_it_is_written(cohort, tmp_path, suffix):
    add(cohort, tmp_path, {"v": [31.5, -999.0, 64.25]}, suffix, kind=("v=value",))
    assert np.isnan(stored(cohort, "v")[1][1])
    report = add(cohort, tmp_path, {"g": [1.5, 9.0, 2.5]}, suffix, kind=("g=ordinal",), missing=("9",))
    assert notes(report)["missing labels"].startswith("1 row has no label of g (9")
    assert stored(cohort, "g")[1][1] == -1


def test_an_event_that_may_mean_missing_is_asked_about(cohort, tmp_path):
    columns = {"t": [3.5, 12, 7, 8], "e": [1, 0, 9, 0]}
    with pytest.raises(InvalidInputError, match="nobody knows, --missing=default,9 leaves those cases with"):
        add(cohort, tmp_path, columns, **OS)
    add(cohort, tmp_path, columns, **OS, missing=("9",))
    assert np.isnan(stored(cohort, "os")[1][2]).all()


def test_the_order_of_words_is_asked_for(cohort, tmp_path):
    with pytest.raises(InvalidInputError, match="nobody said the order of these grades; --order 'g=high,low,mid'"):
        add(cohort, tmp_path, {"g": ["low", "mid", "high"]}, kind=("g=ordinal",))
    with pytest.raises(InvalidInputError, match="--order 'h=G1,G2,G10', in the right order, says it"):
        add(cohort, tmp_path, {"h": ["G10", "G2", "G1"]}, kind=("h=ordinal",))
    add(cohort, tmp_path, {"g": ["low", "mid", "high"]}, order=("g=low,mid,high",))
    assert stored(cohort, "g")[1][:3].tolist() == [0, 1, 2]
    with pytest.raises(InvalidInputError, match=r"row 2, column g: 'top' is none of the classes low, mid, high"):
        add(cohort, tmp_path, {"g": ["top"]}, order=("g=low,mid,high",))


def test_several_labels_come_from_columns(cohort, tmp_path):
    columns = {"f_mass": [1, 0, None, 1], "f_cyst": ["no", "yes", "no", None], "f_none": [0, 0, 0, 0]}
    report = add(cohort, tmp_path, columns, multilabel=("found=f_*",))
    target, y = stored(cohort, "found")
    assert target == Target("found", "multilabel", ("f_mass", "f_cyst", "f_none"))
    nan = np.nan
    np.testing.assert_array_equal(y[:5], [[1, 0, 0], [0, 1, 0], [nan, 0, 0], [1, nan, 0], [nan, nan, nan]])
    assert "no case has the label f_none of found" in notes(report)["one value"]
    assert add(cohort, tmp_path, columns, multilabel=("found=f_*",)).snapshot == report.snapshot
    columns["f_mass"] = [None, 1, None, 1]
    with pytest.raises(InvalidInputError, match=r"P01 of cohort c is 1.0 in found \(f_mass\) and 0.0 in the store"):
        add(cohort, tmp_path, columns, multilabel=("found=f_*",))
    changed = add(cohort, tmp_path, columns, multilabel=("found=f_*",), replace=True)
    assert changed.changed == {
        "labels": ("P00 found (f_mass): 1.0 is now no label", "P01 found (f_mass): 0.0 is now 1.0")
    }
    with pytest.raises(InvalidInputError, match=r"row 2, column f_mass: '-1' does not say"):
        add(cohort, tmp_path, {"f_mass": [-1]}, multilabel=("found=f_*",))


def test_several_labels_come_from_cells(cohort, tmp_path):
    columns = {"found": ["mass;cyst", "cyst", ";", None, "mass; edema"]}
    report = add(cohort, tmp_path, columns, kind=("found=multilabel",))
    target, y = stored(cohort, "found")
    assert target.names == ("cyst", "edema", "mass")
    np.testing.assert_array_equal(y[:5], [[1, 0, 1], [1, 0, 0], [0, 0, 0], [np.nan] * 3, [0, 1, 1]])
    assert "parted by ';'" in notes(report)["separator"]
    assert "label?" not in notes(report)
    with pytest.raises(InvalidInputError, match=r"row 2, column found: .* is a list as a program writes it"):
        add(cohort, tmp_path, {"found": ["['mass', 'cyst']", "['cyst']", "[]"]}, kind=("found=multilabel",))
    with pytest.raises(InvalidInputError, match=r"';' and ',' stand in its cells"):
        add(cohort, tmp_path, {"found": ["mass;cyst", "a,b"]}, kind=("found=multilabel",))
    with pytest.raises(InvalidInputError, match=r"row 2, column found: 'odd' is none of the labels mass, cyst"):
        add(cohort, tmp_path, {"found": ["mass;odd"]}, kind=("found=multilabel",), classes=("found=mass,cyst",))


def test_a_value_far_from_all_is_noted_and_one_that_cannot_be_reckoned_with_refused(cohort, tmp_path):
    psa = np.random.default_rng(0).lognormal(size=40)
    value = {"kind": ("psa=value",), "unit": ("psa=ng/ml",)}
    assert notes(add(cohort, tmp_path, {"psa": psa}, **value)) == {}
    psa[3] = 4e6
    said = notes(add(cohort, tmp_path, {"psa": psa}, replace=True, **value))["far from all"]
    assert said.startswith("case P03 has 4e+06 of psa, where half of all lie between ")
    for odd in (1e300, -1e101, 1e-200):
        with pytest.raises(InvalidInputError, match=r"row 5, column psa: .* cannot be reckoned with"):
            add(cohort, tmp_path, {"psa": [*psa[:3], odd, 0.0]}, replace=True, **value)
    with pytest.raises(InvalidInputError, match=r"row 3, column t: 1e\+200 is no time"):
        add(cohort, tmp_path, {"t": [3, 1e200], "e": [1, 0]}, **OS)


def test_a_word_for_no_label_is_noted_and_kept(cohort, tmp_path):
    report = add(cohort, tmp_path, {"x": ["mass|cyst", "No Finding", "mass"]}, kind=("x=multilabel",))
    assert notes(report)["label?"].startswith("No Finding of x stands alone in its cells and is taken for a label")
    assert stored(cohort, "x")[0].names == ("No Finding", "cyst", "mass")


def test_a_value_of_many_numbers_is_taken_with_a_sentence_and_ids_are_not(cohort, tmp_path):
    psa = np.random.default_rng(0).lognormal(size=60).round(3).tolist()
    report = add(cohort, tmp_path, {"psa": psa})
    assert notes(report)["taken for values"].endswith("--drop psa leaves it out")
    assert stored(cohort, "psa")[1].tolist() == psa
    with pytest.raises(InvalidInputError, match="60 different labels"):
        add(cohort, tmp_path, {"ward": list(range(1000, 1060))})
    same = add(cohort, tmp_path, {"dose": [3] * 9}, kind=("dose=value",), unit=("dose=mg",))
    assert notes(same) == {"one value": "all 9 cases have the value 3 of dose, so that nothing can be learnt of it"}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"kind": ("os=survival",)}, "--kind os=survival does not say the columns; write --survival os="),
        ({"survival": ("os=t",)}, "--survival os names 1 column"),
        ({"survival": ("os=t,t",)}, "--survival os names column t for the time and for the event"),
        ({"survival": ("os=t,when",)}, "has no column 'when', which --survival os names"),
        ({"survival": ("os=t,e",), "kind": ("os=value",)}, "--survival makes os survival, and --kind os=value"),
        ({"event": ("os=1",)}, "--event names os, whose time nobody said"),
        ({"kind": ("t=competing",)}, "--kind t: 'competing' is none of classes, ordinal, multilabel, value, survival"),
        ({"unit": ("size=mm",)}, "has no column 'size', which --unit names"),
        ({"survival": ("g=t,e",)}, "g would be two targets"),
        ({"unit": ("g=mm",)}, "--unit g: only values and times have a unit"),
    ],
)
def test_options_that_cannot_be_are_refused(cohort, tmp_path, said, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        add(cohort, tmp_path, {"t": [1, 2], "e": [0, 1], "g": ["a", "b"]}, **said)


def test_a_second_time_is_no_column_of_events(cohort, tmp_path):
    times = np.linspace(1, 30, 12).round(1).tolist()
    with pytest.raises(
        InvalidInputError, match="column u: u has 12 different values, so it cannot say who had the event"
    ):
        add(cohort, tmp_path, {"t": times, "u": times[::-1]}, survival=("os=t,u",))


def test_codes_must_not_hold_a_time_of_survival(cohort, tmp_path):
    from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec

    times = np.linspace(1, 60, 60).astype(np.float32)
    codes_nd = np.stack([np.ones(60, np.float32), times], axis=1)
    encoder = EncoderSpec("blood", "1", "codes", 2, preprocessing={"columns": ["a", "follow_up"]})
    with cohort.begin() as transaction:
        transaction.write_codes(
            CaseCodes(tuple(CASES), codes_nd, (), CodeSetKey.of("c", "lab", encoder)),
            input_digests=[["x"]] * len(CASES),
        )
        row = {"encoder": "blood", "encoder_digest": encoder.digest, "input_kind": "codes", "code_dim": 2}
        transaction.write_rows("encoders", [{**row, "preprocessing": json.dumps(dict(encoder.preprocessing))}])
    with pytest.raises(InvalidInputError, match=r"column follow_up of .* is target os \(time\) in other words"):
        add(cohort, tmp_path, {"t": times.tolist(), "e": [0, 1] * 30}, **OS)
