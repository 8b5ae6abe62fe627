"""What the page is given: who gets it, that it writes nothing, and that its answers are those of others' libraries."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import openslide
import pyarrow.parquet as pq
import pytest
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image
from scipy.stats import rankdata
from sklearn.decomposition import PCA

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.evaluation import evaluate
from guidestore.flows.results.two_runs import compare_runs
from guidestore.warehouse.catalog import query
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import all_runs
from tests.commandline import guidestore
from tests.explore_store import ATTENTION, CORNERS, EVIL, SLIDE_PX, served

CASE = {"cohort": "scans", "case": "P_2", "image": "P_2"}
SECRET_WORDS = (b"P_1", b"P_2", b"/images/")


class Asked:
    """A browser that has the token."""

    def __init__(self, url: str) -> None:
        self.root, _, query = url.partition("?")
        self.client = httpx.Client(base_url=self.root, timeout=60, follow_redirects=True)
        self.client.get(f"/?{query}").raise_for_status()

    def __call__(self, path: str, **parameters: Any) -> Any:
        return self.client.get(path, params=parameters).raise_for_status().json()

    def bytes(self, path: str, **parameters: Any) -> bytes:
        return self.client.get(path, params=parameters).raise_for_status().content

    def numbers(self, path: str, **parameters: Any) -> tuple[dict[str, Any], np.ndarray]:
        answer = self.client.get(path, params=parameters).raise_for_status()
        about = json.loads(answer.headers["x-about"])
        return about, np.frombuffer(answer.content, about["dtype"])

    def close(self) -> None:
        self.client.close()

    def refusal(self, path: str, **parameters: Any) -> str:
        answer = self.client.get(path, params=parameters)
        assert answer.status_code in (400, 404, 422), answer.text
        return answer.json()["detail"]


@pytest.fixture(scope="module")
def url(page_store: Path) -> Iterator[str]:
    with served(page_store) as url:
        yield url


@pytest.fixture(scope="module")
def asked(url: str) -> Iterator[Asked]:
    with closing(Asked(url)) as asked:
        yield asked


@pytest.fixture(scope="module")
def head(asked: Asked) -> str:
    rows = asked("/data/heads", cohort="skin")
    return next(row["key"] for row in rows if (row["target"], row["row"]) == ("DIAG", "G(I)+I"))


# Who, and what is not done ------------------------------------------------------------------------------------------


def test_without_the_token_nothing_is_told(url: str, asked: Asked) -> None:
    with httpx.Client(base_url=asked.root) as stranger:
        for path in ("/", "/explore.js", "/data/overview", "/image/facts", "/nowhere"):
            answer = stranger.get(path)
            assert answer.status_code == 401
            assert "skin" not in answer.text
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, embedded):
        assert asked.client.get("/data/overview", headers=headers).status_code == 403, headers


def test_no_parameter_reaches_the_files(asked: Asked) -> None:
    page = asked.bytes("/")
    for wrong in ("/etc/passwd", "../app.py", "explore.js"):
        assert asked.bytes("/", name=wrong, file=wrong) == page
    assert asked.client.get("/..%2fapp.py").status_code == 404


def test_nothing_is_written(asked: Asked, head: str, page_store: Path) -> None:
    def digests() -> dict[str, str]:
        files = [file for file in page_store.rglob("*") if file.is_file()]
        return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    before = digests()
    for path in ("/data/verdicts", "/data/heads", "/data/comparable", "/data/maps", "/data/columns"):
        asked(path, cohort="skin")
    asked("/data/case", cohort="skin", case="lesion-003")
    asked("/data/cases", cohort="skin", head=head, where="turned IS NOT NULL")
    asked("/data/difference", a="3", b="9")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert asked.client.request(method, "/data/overview", json={}).status_code in (403, 405)
    assert digests() == before


def test_every_answer_has_the_strict_policy(asked: Asked) -> None:
    for path in ("/", "/explore.js", "/data/overview"):
        policies = asked.client.get(path).headers.get_list("content-security-policy")
        assert any("default-src 'none'" in one and "unsafe" not in one for one in policies), path


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("1; DROP TABLE x", "no condition"),
        ("1) OR (1", "no condition"),
        ("nope = 1", "not found"),
        ("i = (SELECT 1 FROM read_text('/etc/passwd'))", "neither read nor write files"),
        ("case_id IN (SELECT 1 FROM read_parquet('x'))", "neither read nor write files"),
        ("i = 1 LIMIT 1", "no condition"),
        ("", ""),
    ],
)
def test_a_filter_reads_and_no_more(asked: Asked, wrong: str, said: str) -> None:
    if not said:
        assert asked("/data/cases", cohort="skin", where=wrong)["n"] == 90
    else:
        assert said in asked.refusal("/data/cases", cohort="skin", where=wrong)
        assert said in asked.refusal("/data/select", cohort="skin", where=wrong)


def test_what_is_not_there_is_said(asked: Asked) -> None:
    assert "there is no cohort 'skim'; there are scans, secret, skin" in asked.refusal("/data/columns", cohort="skim")
    assert "no case 'x'" in asked.refusal("/data/case", cohort="skin", case="x")
    assert "no guided head" in asked.refusal("/data/columns", cohort="skin", head="0" * 12)
    assert "no sweep" in asked.refusal("/data/sweep", cohort="skin", name="x")
    assert "no snapshot" in asked.refusal("/data/overview", at="99999")
    assert "column 'x'" in asked.refusal("/data/cases", cohort="skin", order="x")
    for path, by in (("point", {"number": 3}), ("colours", {"by": "PIG"}), ("select", {"where": "i = 3"})):
        asked.bytes(f"/data/{path}", cohort="skin", of=90, **by)
        assert "lost cases since this page" in asked.refusal(f"/data/{path}", cohort="skin", of=91, **by)


# What it says ---------------------------------------------------------------------------------------------------------


def test_verdicts_are_those_of_evaluate(asked: Asked, page_store: Path) -> None:
    snapshot = EmbeddingStore.open(page_store).snapshot()
    runs = [run.id for run in all_runs(snapshot)]
    expected = evaluate(snapshot, runs).effects
    told = asked("/data/verdicts", cohort="skin")["verdicts"]
    assert [(row["target"], row["row"], row["verdict"]) for row in told] == [
        (effect.head.target, effect.head.row, effect.verdict) for effect in expected
    ]
    for row, effect in zip(told, expected, strict=True):
        assert effect.effect is not None
        gain = effect.effect.gain_over_i.gain
        assert row["gain"] == [gain.value, gain.low, gain.high]


def test_what_a_head_says_of_each_case(asked: Asked, head: str, page_store: Path) -> None:
    """Against the stored predictions, averaged with numpy."""
    snapshot = EmbeddingStore.open(page_store).snapshot()
    runs = [run for run in all_runs(snapshot) if run.target == "DIAG" and not run.control]
    stored = load_predictions(snapshot, runs)
    probabilities: dict[str, dict[str, np.ndarray]] = {}
    labels: dict[str, int] = {}
    for name, row, decoder in (("i", "I", "logistic"), ("guided", "G(I)+I", "logistic")):
        of_row = [stored[run.id] for run in runs if (run.row, run.decoder) == (row, decoder)]
        assert len(of_row) == 2
        mean_nk = np.mean([one.probabilities for one in of_row], axis=0)
        probabilities[name] = dict(zip(of_row[0].case_ids, mean_nk, strict=True))
        labels = dict(zip(of_row[0].case_ids, of_row[0].labels.tolist(), strict=True))
    rows: list[dict[str, Any]] = []
    for page in (0, 1):
        rows += asked("/data/cases", cohort="skin", head=head, page=page)["rows"]
    assert len(rows) == 90
    seen = 0
    for row in rows:
        case = row["case_id"]
        if case not in labels:
            assert row["turned"] is None
            continue
        seen += 1
        i, guided = probabilities["i"][case], probabilities["guided"][case]
        label = labels[case]
        assert row["i_p"] == pytest.approx(i[label])
        assert row["gain"] == pytest.approx(guided[label] - i[label])
        right = (i.argmax() == label, guided.argmax() == label)
        expected = {(True, True): "right in both", (True, False): "turned wrong", (False, True): "turned right"}
        assert row["turned"] == expected.get(right, "wrong in both")
    assert seen == 36
    wrong = asked("/data/cases", cohort="skin", head=head, where="turned = 'turned wrong'")
    assert [row["case_id"] for row in wrong["rows"]] == [r["case_id"] for r in rows if r["turned"] == "turned wrong"]


def test_two_heads_are_compared_as_compare_does(asked: Asked, page_store: Path) -> None:
    heads = asked("/data/comparable", cohort="skin")
    assert len({row["key"] for row in heads}) == len(heads)
    a, b = (next(h["key"] for h in heads if (h["target"], h["row"]) == ("DIAG", row)) for row in ("I", "S"))
    store = EmbeddingStore.open(page_store)
    runs = [run for run in all_runs(store.snapshot()) if run.target == "DIAG" and not run.control]
    ids = [next(run.id for run in runs if run.row == row) for row in ("I", "S")]
    told = asked("/data/comparison", cohort="skin", a=a, b=b, part="val")
    expected = compare_runs(store, *ids, part="val", pooled=True)
    assert told["gains"][0]["metric"] == "AUROC"
    assert {(row["gain"], row["low"], row["high"]) for row in told["gains"]} == {
        (gain.gain.value, gain.gain.low, gain.gain.high) for gain in expected.gains
    }
    assert (told["cases"], told["names"]) == (expected.n_cases, list(expected.names))
    on_test = asked("/data/comparison", cohort="skin", a=a, b=b, part="test")
    stored = load_predictions(store.snapshot(), runs)
    says = []
    for row in ("I", "S"):
        of_row = [stored[run.id] for run in runs if run.row == row]
        mean_nk = np.mean([one.probabilities for one in of_row], axis=0)
        says.append(dict(zip(of_row[0].case_ids, mean_nk.argmax(axis=1).tolist(), strict=True)))
    changed = {row["case_id"] for row in on_test["changed"]["rows"]}
    assert changed == {case for case in says[0] if says[0][case] != says[1][case]}
    assert len(changed) == on_test["changed"]["n"] > 0
    other = next(h["key"] for h in heads if (h["target"], h["row"]) == ("PIG", "I"))
    assert "one target" in asked.refusal("/data/comparison", cohort="skin", a=a, b=other)
    assert "the same head" in asked.refusal("/data/comparison", cohort="skin", a=a, b=a)
    assert "no head" in asked.refusal("/data/comparison", cohort="skin", a=a, b="0" * 12)


def test_filters_search_and_colours_agree_with_the_labels(asked: Asked, page_store: Path) -> None:
    labels = EmbeddingStore.open(page_store).snapshot().rows("labels", cohort="skin").to_pylist()
    of = {row["case_id"]: row["class"] for row in labels if row["target"] == "PIG"}
    cases = sorted(of)
    _, numbers = asked.numbers("/data/select", cohort="skin", where="PIG = 'present'")
    assert [cases[number] for number in numbers] == [case for case in cases if of[case] == "present"]
    assert asked("/data/cases", cohort="skin", search="ION-01")["n"] == 10
    about, values = asked.numbers("/data/colours", cohort="skin", by="PIG")
    assert [about["names"][value] for value in values] == [of[case] for case in cases]
    about, values = asked.numbers("/data/colours", cohort="skin", by="i / 2")
    assert about["kind"] == "number"
    np.testing.assert_allclose(values, np.arange(90) / 2)
    assert "at most 36 values" in asked.refusal("/data/colours", cohort="skin", by="case_id")
    assert "aggregate" in asked.refusal("/data/colours", cohort="skin", by="count(*)")
    assert "one value for each case" in asked.refusal("/data/colours", cohort="skin", by="unnest([1, 2])")


def test_the_map_is_that_of_scikit_learn(asked: Asked, page_store: Path) -> None:
    snapshot = EmbeddingStore.open(page_store).snapshot()
    for chosen in asked("/data/maps", cohort="skin")["code_sets"]:
        codes_nd = snapshot.codes(snapshot.code_set(chosen["name"])).codes_nd.astype(np.float64)
        spread = codes_nd.std(axis=0)
        scaled_nd = (codes_nd - codes_nd.mean(axis=0)) / np.where(np.ptp(codes_nd, axis=0) > 0, spread, 1)
        expected_n2 = PCA(2, svd_solver="full").fit_transform(scaled_nd)
        _, values = asked.numbers("/data/map", cohort="skin", code_set=chosen["name"])
        places_n2 = values.reshape(-1, 2)
        for axis in range(2):
            sign = np.sign(places_n2[:, axis] @ expected_n2[:, axis])
            np.testing.assert_allclose(sign * places_n2[:, axis], expected_n2[:, axis], atol=2e-4)


def test_a_case_has_all_that_the_store_knows(asked: Asked, page_store: Path) -> None:
    told = asked("/data/case", cohort="scans", case="P_1")
    assert [label["class"] for label in told["labels"]] == ["G"]
    assert [image["modality"] for image in told["images"]] == ["clinical", "histology", "mri_t2"]
    assert [code["inputs"] for code in told["codes"]] == [[{"kind": None, "id": "0" * 12}]]
    assert [row["reason"] for row in asked("/data/case", cohort="scans", case="P_3")["quarantine"]] == [EVIL]
    of_skin = asked("/data/case", cohort="skin", case="lesion-003")
    said = {(row["target"], row["row"]) for row in of_skin["predictions"] if not row["control"]}
    assert {("DIAG", "I"), ("DIAG", "S+I"), ("PIG", "G(I)+I")} <= said
    assert all(sum(row["probabilities"]) == pytest.approx(1) for row in of_skin["predictions"])
    near = asked("/data/neighbours", cohort="skin", case="lesion-003", code_set="skin/clinical/made")
    assert len(near) == 12
    assert "lesion-003" not in {row["case_id"] for row in near}
    asked_for = "FROM neighbours('lesion-003', 'skin/clinical/made', k := 12)"
    expected = query(page_store, asked_for).table.to_pylist()
    assert [row["case_id"] for row in near] == [row["case_id"] for row in expected]
    np.testing.assert_allclose([row["similarity"] for row in near], [row["similarity"] for row in expected], atol=1e-6)
    assert [row["labels"] for row in near] == [row["labels"] for row in expected]


def test_what_changed_between_two_snapshots(asked: Asked) -> None:
    told = asked("/data/difference", a="3", b="5")
    assert told["changes"]["runs"]["came"]["n"] > 40
    assert told["changes"]["cases"]["came"]["n"] == 0
    told = asked("/data/difference", a="3", b="1")  # whichever is older comes first
    assert (told["a"], told["b"]) == (1, 3)
    codes = told["changes"]["codes"]["came"]
    assert (codes["n"], {row["modality"] for row in codes["rows"]}) == (90, {"dermoscopy"})
    assert told["changes"]["labels"]["came"]["n"] == 180
    assert "same snapshot" in asked.refusal("/data/difference", a="3", b="3")


def test_a_parquet_for_embedding_atlas(asked: Asked, page_store: Path, tmp_path: Path) -> None:
    """Its columns are what its command line names: see `embedding-atlas --help` (--x, --y, --text)."""
    file = tmp_path / "skin.parquet"
    done = guidestore("explore", "skin", "--export", file, "--store", page_store)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(file)
    named = re.findall(r"--(?:x|y|text) (\w+)", done.stdout)
    assert len(named) == 3
    assert set(named) <= set(table.column_names)
    assert table["case_id"].to_pylist() == sorted(table["case_id"].to_pylist())
    digests = {row["modality"]: row["name"] for row in asked("/data/maps", cohort="skin")["code_sets"]}
    for modality in ("clinical", "dermoscopy"):
        _, places = asked.numbers("/data/map", cohort="skin", code_set=digests[modality])
        shown = np.stack([table[f"projection_{modality}_{axis}"].to_numpy() for axis in "xy"], axis=1)
        np.testing.assert_array_equal(shown, places.reshape(-1, 2))
    for wrong, said in (
        (("--export", file), "is for one cohort"),
        (("skin", "--export", tmp_path / "x.csv"), "no name for a Parquet file"),
    ):
        done = guidestore("explore", *wrong, "--store", page_store)
        assert done.returncode != 0
        assert said in done.stderr


# Images ---------------------------------------------------------------------------------------------------------------


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)))


@pytest.mark.parametrize(("plane", "number"), [("axial", 18), ("coronal", 20), ("sagittal", 14)])
def test_slices_are_those_of_nibabel(asked: Asked, page_store: Path, plane: str, number: int) -> None:
    image = nib.load(page_store.parent / "images" / "P_2.nii.gz")
    voxels = nib.as_closest_canonical(image).get_fdata()  # pyright: ignore[reportArgumentType]
    facts = asked("/image/facts", modality="mri_t2", **CASE)
    assert (facts["kind"], facts["shape"], facts["spacing_mm"]) == ("volume", [40, 48, 32], [4.0, 4.0, 5.0])
    along, across, up = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}[plane]
    expected = np.take(voxels, number, axis=along).T[::-1, ::-1]
    low, high = facts["window"]
    grey = np.clip((expected - low) / (high - low), 0, 1) * 255
    shown = picture(asked.bytes("/image/slice", modality="mri_t2", plane=plane, number=number, **CASE))
    step = facts["spacing_mm"]
    finest = min(step[across], step[up])
    assert shown.shape == (voxels.shape[up] * step[up] / finest, voxels.shape[across] * step[across] / finest)
    small = np.asarray(Image.fromarray(shown).resize(expected.shape[::-1], Image.Resampling.BOX), dtype=float)
    assert np.corrcoef(small.ravel(), grey.ravel())[0, 1] > 0.98
    for turned in (grey[::-1], grey[:, ::-1]):  # a slice that is turned over would be another
        assert np.corrcoef(small.ravel(), turned.ravel())[0, 1] < 0.97


def test_tiles_of_a_slide_are_those_of_openslide(asked: Asked, page_store: Path) -> None:
    facts = asked("/image/facts", modality="histology", **CASE)
    assert (facts["kind"], facts["width"], facts["height"], facts["mpp"]) == ("slide", SLIDE_PX, SLIDE_PX, 0.5)
    with openslide.OpenSlide(page_store.parent / "images" / "P_2.tiff") as opened:
        theirs = DeepZoomGenerator(opened, facts["tile"], facts["overlap"], limit_bounds=False)
        assert theirs.level_count == facts["levels"]
        for level, column, row in ((facts["levels"] - 1, 1, 0), (facts["levels"] - 2, 0, 0)):
            asked_for = {"level": level, "column": column, "row": row}
            shown = picture(asked.bytes("/image/tile", modality="histology", **CASE, **asked_for))
            expected = np.asarray(theirs.get_tile(level, (column, row)).convert("RGB"))
            assert shown.shape == expected.shape
            assert np.abs(shown.astype(int) - expected).mean() < 4  # JPEG
    assert "no tile" in asked.refusal("/image/tile", modality="histology", **CASE, level=99, column=0, row=0)


def test_tiles_and_attention_over_a_slide(asked: Asked) -> None:
    plain, attended = asked("/image/tiles", modality="histology", **CASE | {"case": "P_1", "image": "P_1"})
    assert (plain["corners"], plain["percent"]) == (CORNERS.tolist(), None)
    ranks = rankdata(ATTENTION) - 1
    np.testing.assert_allclose(attended["percent"], ranks / (len(ranks) - 1) * 100, atol=0.1)
    assert asked("/image/tiles", modality="histology", **CASE) == []


def test_a_photograph_is_whole(asked: Asked, page_store: Path) -> None:
    assert asked("/image/facts", modality="clinical", **CASE) == {"kind": "photograph"}
    shown = picture(asked.bytes("/image/photograph", modality="clinical", **CASE))
    expected = np.asarray(Image.open(page_store.parent / "images" / "P_2.png"))
    assert shown.shape == expected.shape == (400, 300, 3)
    assert np.abs(shown.astype(int) - expected).mean() < 3


def test_a_file_that_was_written_since_is_refused(asked: Asked, page_store: Path) -> None:
    file = page_store.parent / "images" / "P_3.png"
    other = CASE | {"case": "P_3", "image": "P_3"}
    asked.bytes("/image/photograph", modality="clinical", **other)
    kept = file.read_bytes()
    try:
        Image.new("RGB", (300, 400)).save(file)
        assert "changed since cohort add" in asked.refusal("/image/photograph", modality="clinical", **other)
    finally:
        file.write_bytes(kept)


def test_a_pseudonymized_cohort_shows_pixels_with_its_key_alone(asked: Asked, page_store: Path) -> None:
    rows = asked("/data/cases", cohort="secret")["rows"]
    case = rows[0]["case_id"]
    assert re.fullmatch("p[0-9a-f]{20}", case)
    told = asked.bytes("/data/case", cohort="secret", case=case)
    assert not any(word in told for word in SECRET_WORDS)
    named = {"cohort": "secret", "case": case, "image": case, "modality": "clinical"}
    assert "pseudonymized, so its images are not shown" in asked.refusal("/image/facts", **named)
    assert "not shown" in asked.refusal("/image/photograph", **named)
    with served(page_store, key=page_store.parent / "key") as url, closing(Asked(url)) as keyed:
        assert picture(keyed.bytes("/image/photograph", **named)).shape == (400, 300, 3)
        assert not any(word in keyed.bytes("/data/case", cohort="secret", case=case) for word in SECRET_WORDS)
