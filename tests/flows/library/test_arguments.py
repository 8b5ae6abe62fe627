"""Wrong arguments give one sentence of ours that names the argument, and no option of the command line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import guidestore as gs
from guidestore.flows.library.arguments import public
from guidestore.heads.references.train import references_of

PAIR = ("mri/mine", "slide/mine")
ASKED = {"inferior": PAIR[0], "superior": PAIR[1], "guidance": "ridge", "decoder": "logistic", "targets": "grade"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> gs.Store:
    rng = np.random.default_rng(0)
    z_s = rng.normal(size=(60, 4))
    store = gs.open(tmp_path_factory.mktemp("store") / "store", create=True)
    ids = [f"case-{number}" for number in range(60)]
    with store.writing():
        store.add_codes("made", "mri", "mine", z_s[:, :2] + rng.normal(size=(60, 2)), ids)
        store.add_codes("made", "slide", "mine", z_s, ids)
        labels = {"case_id": ids, "grade": np.where(z_s[:, 0] > 0, "b", "a"), "size": z_s[:, 0] + rng.normal(size=60)}
        labels["rank"] = np.array(["low", "mid", "high"])[np.digitize(z_s[:, 1], [-0.5, 0.5])]
        ranks = {"rank": ["low", "mid", "high"]}
        store.add_labels(
            "made", labels, classes=ranks, kinds={"size": "value", "rank": "ordinal"}, units={"size": "mm"}
        )
        store.add_split("made", folds=2, target="grade")
    return store


@pytest.fixture(scope="module")
def data(store: gs.Store) -> gs.Data:
    return store.pair("made", *PAIR, target="grade")


@pytest.fixture(scope="module")
def study(store: gs.Store) -> gs.Study:
    return store.guide("made", **ASKED, folds=np.int64(0), permutations=1)  # pyright: ignore[reportArgumentType]


def test_of_types_of_others_means_the_same(store: gs.Store, study: gs.Study) -> None:
    runs = study.runs["run"]
    for folds in ([0], (0,), range(1), np.arange(1), pa.chunked_array([[0]]), np.uint8(0)):
        again = store.guide("made", **ASKED, folds=folds, permutations=1)  # pyright: ignore[reportArgumentType]
        assert again.runs["run"] == runs
    assert store.pair("made", *PAIR, target="grade", fold=np.int64(1)).paired.fold == 1  # pyright: ignore[reportArgumentType]
    one = store.predict(runs[0], cases="case-3").rows()
    assert one == store.predict(runs[0], cases=["case-3"]).rows()
    assert len(store.neighbours("case-3", "made/mri/mine", k=np.int32(4))) == 4  # pyright: ignore[reportArgumentType]
    with pytest.raises(gs.InvalidInputError, match="between snapshots 0 and 1"):
        store.compare(0, 1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda s: s.pair("made", *PAIR, split=3), r"^split is 3; it must be text$"),
        (lambda s: s.pair(None, *PAIR), r"^cohort is None; it must be text$"),
        (lambda s: s.pair("made", ("mri", "mine"), "x"), r"^inferior is \('mri', 'mine'\); it must be text$"),
        (lambda s: s.pair("made", *PAIR, fold=True), r"^fold is True; it must be a whole number$"),
        (lambda s: s.pair("made", *PAIR, at=1.5), r"^at is 1.5; it must be a whole number or text or None$"),
        (lambda s: s.guide("made", **{**ASKED, "targets": None}), r"^targets is None; it must be a list"),
        (lambda s: s.guide("made", **ASKED, folds=[0, 1.5]), r"^folds\[1\] is 1.5; it must be a whole number$"),
        (lambda s: s.evaluate("made", part="x"), r"^part is 'x'; it must be train or val or test$"),
        (lambda s: s.evaluate("made", guidance=3), r"^guidance is 3; it must be text$"),
        (lambda s: s.compare(None, "b"), r"^a is None; it must be a whole number or text$"),
        (lambda s: s.add_labels("made", {}, units=3), r"^units is 3; it must be a mapping or None$"),
        (lambda s: s.bags(3), r"^code_set is 3"),
        (lambda s: s.sql("SELECT 1", timeout_s="x"), r"^timeout_s is 'x'; it must be a number or None$"),
        (lambda s: s.predict(3, cases=["case-1"]), r"^run is 3; it must be text$"),
        (lambda s: s.guide("made", **ASKED, progress=3), r"^progress is 3; it must be a function"),
        (lambda s: s.guide("made", **ASKED, seeds=[]), r"^seeds = \(\): it should have at least 1 item$"),
        (lambda s: gs.fit(s), r"^data is a Store; it must be a Data$"),
        (
            lambda s: gs.fit(s.pair("made", *PAIR, target="grade"), ["ridge"]),
            r"^guidance model is a list; name one, or",
        ),
        (lambda s: gs.Data(3), r"^paired is 3; it must be a PairedCodes$"),  # pyright: ignore[reportArgumentType]
        (lambda s: s.encode("made", "mri", "texture", tile=3), r"^argument 'tile' is unknown: did you mean 'tile_px'"),
        (
            lambda s: s.sql("SELECT 1", timeout_s=float("nan")),
            r"^timeout_s is nan; it must be a number above 0, or None",
        ),
        (
            lambda s: s.add_labels("made", {"id": ["case-1"]}),
            r"^the labels have no column 'case_id', but id; `id_column` says",
        ),
        (lambda s: gs.datasets.digits("x"), r"^store is 'x'; it must be a Store$"),  # pyright: ignore[reportArgumentType]
        (lambda s: gs.open("", create=True), r"^the place of the store is empty: name a folder"),
        (lambda s: s.sweep({"name": "tried"}), r"^cohort is missing: give it$"),
        (lambda s: s.add_split("made", name="drawn", target="grade", seed=-1), r"^split drawn: seed -1 is no integer"),
        (lambda s: s.sql("SELECT INTERVAL 1 DAY AS a").pl(), r"^polars cannot hold this table \(.*\); take .df\(\) or"),
        (lambda s: gs.open(3), r"^place is 3; it must be a path or text$"),  # pyright: ignore[reportArgumentType]
        (lambda s: gs.load("a\0b"), r"^folder is 'a\\x00b'; it must be a path or text$"),
    ],
)
def test_another_kind_is_named_with_its_argument(
    store: gs.Store, call: Callable[[gs.Store], Any], sentence: str
) -> None:
    with pytest.raises(gs.InvalidInputError, match=sentence):
        call(store)


def test_data_heads_and_plots_too(data: gs.Data, study: gs.Study, tmp_path: Path) -> None:
    head = gs.fit(data, "ridge", "logistic", row="S+I")
    z_i, z_s = data.xy("test")[0], data.xy("test", "S")[0]
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: data.xy(labelled="no"), "labelled is 'no'; it must be True or False"),  # pyright: ignore[reportArgumentType]
        (lambda: data.torch(device=3), "device is 3; it must be text"),  # pyright: ignore[reportArgumentType]
        (lambda: head.score("test", z_i), "data is a ndarray; it must be a Data or None"),  # pyright: ignore[reportArgumentType]
        (lambda: head.predict(z_i, z_s[:3]), f"z_inferior has {len(z_i)} rows and z_superior 3"),
        (lambda: study.plot.bars("x"), "block is 'x'; it must be a whole number"),  # pyright: ignore[reportArgumentType]
        (lambda: study.report(tmp_path / "report.pdf"), "report.pdf: a report is one HTML file; end its name in .html"),
        (lambda: study.report(None), "out is None; it must be a path or text"),  # pyright: ignore[reportArgumentType]
    ]
    for call, sentence in wrong:
        with pytest.raises(gs.InvalidInputError, match=sentence):
            call()
    with pytest.raises(TypeError, match=r"^Data.xy: got an unexpected keyword argument 'rows'; did you mean 'row'\?$"):
        data.xy(rows="I")  # pyright: ignore[reportCallIssue]


def test_errors_name_arguments_not_options(store: gs.Store, data: gs.Data, study: gs.Study, tmp_path: Path) -> None:
    told = []
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: store.pair("made", *PAIR), "name one with `target`"),
        (lambda: store.advise("made", inferior=PAIR[0], superior=PAIR[1]), "name one with `targets`"),
        (lambda: store.evaluate("made", target="x"), "no run of made `target` x is there; `target` may be grade"),
        (lambda: data.torch(device="gpu"), "give `device` cpu"),
        (lambda: store.predict(study.runs["run"][0], codes=np.zeros((1, 2)), ids=["a"]), "`encoder` mine@"),
        (lambda: gs.open(tmp_path), "name one with `place`, or make one with `guidestore"),
    ]
    for call, sentence in calls:
        with pytest.raises(gs.GuidestoreError) as caught:
            call()
        told.append(str(caught.value))
        assert sentence in told[-1]
    assert "`guidestore sweep show FILE --test N`" in told[2]  # a command stays one


def test_case_names_with_dashes_stay() -> None:
    @public
    def of(name: str) -> None:
        raise gs.InvalidInputError(f"case {name} is unknown")

    with pytest.raises(gs.InvalidInputError, match=r"^case a--b is unknown$"):
        of("a--b")


@pytest.mark.parametrize(("target", "kind"), [("grade", "classes"), ("size", "value")])
def test_a_reference_is_fitted_by_its_row_alone(store: gs.Store, target: str, kind: Any) -> None:
    data = store.pair("made", *PAIR, target=target)
    assert references_of(kind)[0] in repr(gs.fit(data, row="R(I)"))
    with pytest.raises(gs.InvalidInputError, match=r"reference 'ridge' is unknown.*'reference, linear ridge, by loss'"):
        gs.fit(data, decoder="ridge", row="R(I)")


@pytest.mark.parametrize("row", ["T(I)", "KD(I)", "GD(I)", "E(I)"])
@pytest.mark.parametrize("target", ["grade", "size", "rank"])
def test_every_row_is_fitted_by_its_name_alone(store: gs.Store, target: str, row: str) -> None:
    head = gs.fit(store.pair("made", *PAIR, target=target), row=row)
    assert (head.row, head.target) == (row, target)
    assert "3 grades" in repr(head) or target != "rank"


def test_a_reference_of_classes_is_none_of_values(store: gs.Store) -> None:
    with pytest.raises(gs.InvalidInputError, match=r"reference, logistic, by loss.* is unknown"):
        gs.fit(store.pair("made", *PAIR, target="size"), decoder="reference, logistic, by loss", row="R(I)")


def test_a_store_goes_to_other_processes(store: gs.Store) -> None:
    assert store.head
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own
    assert again.code_sets("made").rows() == store.code_sets("made").rows()


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in ("~/text", Path("~/path")):
        assert gs.open(place, create=True).place == str(tmp_path / Path(place).name)
