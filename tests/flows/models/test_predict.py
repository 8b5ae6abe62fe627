"""Prediction from the inferior image alone equals what the store has for known cases; anything else is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.types import CaseCodes
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.models.predict import predict
from tests.flows.conftest import GUIDE, Phantom


def run_of(phantom: Phantom, row: str, mode: str) -> str:
    runs = phantom.opened.snapshot().rows("runs").to_pylist()
    return next(r["run"] for r in runs if (r["row"], r["mode"], r["control"]) == (row, mode, ""))


def stored(phantom: Phantom, run: str) -> dict[str, list[float]]:
    rows = phantom.opened.snapshot().rows("predictions").to_pylist()
    return {row["case_id"]: row["probabilities"] for row in rows if row["run"] == run and row["part"] == "test"}


@pytest.mark.parametrize("mode", ["as-published", "matched"])
@pytest.mark.parametrize("row", ["I", "G(I)", "G(I)+I"])
def test_images_give_the_stored_test_probabilities(encoded: Phantom, row: str, mode: str) -> None:
    run = run_of(encoded, row, mode)
    known = stored(encoded, run)
    cases = sorted(known)[:3]
    folders = [encoded.images / "Radiology" / case for case in cases]
    prediction = predict(encoded.opened, run, files=folders)
    assert prediction.case_ids == tuple(cases)
    np.testing.assert_allclose(prediction.probabilities_nk, [known[case] for case in cases], atol=1e-6)


def test_codes_give_the_stored_test_probabilities(encoded: Phantom) -> None:
    run = run_of(encoded, "G(I)+I", "as-published")
    known = stored(encoded, run)
    from_ids = predict(encoded.opened, run, cases=sorted(known))
    np.testing.assert_allclose(from_ids.probabilities_nk, [known[case] for case in sorted(known)], atol=1e-12)
    assert from_ids.notes == ()
    snapshot = encoded.opened.snapshot()
    parts = snapshot.rows("splits", cohort="phantom").to_pylist()
    of_fold = {row["part"]: row["case_id"] for row in parts if row["fold"] == 0 and row["part"]}
    asked = [of_fold["train"], of_fold["val"], of_fold["test"]]
    (note,) = predict(encoded.opened, run, cases=asked).notes
    assert note.startswith("2 of 3 cases stood in train or val of ")
    assert note.endswith(f"too sure: {of_fold['train']}, {of_fold['val']}")
    codes = snapshot.codes(snapshot.code_set("phantom/mri_all/densenet3d"))
    from_codes = predict(encoded.opened, run, codes=codes)
    assert from_codes.case_ids == codes.case_ids


def test_an_alias_predicts(phantom: Phantom, tmp_path: Path) -> None:
    run = run_of(phantom, "G(I)+I", "matched")
    phantom.opened.move_alias("champion", artifact=run)
    case = sorted(stored(phantom, run))[0]
    shutil.copytree(phantom.images / "Radiology" / case, tmp_path / "elsewhere")
    prediction = predict(phantom.opened, "champion", files=[tmp_path / "elsewhere"])
    np.testing.assert_allclose(prediction.probabilities_nk[0], stored(phantom, run)[case], atol=1e-6)


def test_what_does_not_fit_is_refused(encoded: Phantom, tmp_path: Path) -> None:
    run = run_of(encoded, "G(I)+I", "matched")
    slide = next((encoded.images / "Pathology").iterdir())
    flair = next((encoded.images / "Radiology").glob("*/*_flair.nii.gz"))
    snapshot = encoded.opened.snapshot()
    other = snapshot.codes(snapshot.code_set("phantom/histology/attention_pooling"))
    unnamed = CaseCodes(("x",), np.zeros((1, 3), np.float32))
    for arguments, sentence in (
        ({"files": [slide]}, "no NIfTI volume"),
        ({"files": [flair]}, "lacks t1, t1ce, t2"),
        ({"files": [tmp_path / "nothing.nii.gz"]}, "there is no file"),
        ({"codes": other}, "the run was trained on phantom/mri_all"),
        ({"codes": unnamed}, "say which encoder"),
        ({"codes": unnamed, "encoder": "resnet"}, "of encoder resnet"),
        ({"codes": unnamed, "encoder": "densenet3d"}, "3 dimensions"),
        ({}, "one source"),
        ({"files": [flair], "cases": ["a"]}, "one source"),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            predict(encoded.opened, run, **arguments)
    with pytest.raises(NotFoundInStoreError, match="nobody"):
        predict(encoded.opened, run, cases=["nobody"])
    with pytest.raises(InvalidInputError, match="superior image"):
        predict(encoded.opened, run_of(encoded, "S+I", "matched"), cases=["PHANTOM_0001"])
    with pytest.raises(NotFoundInStoreError, match="no run"):
        predict(encoded.opened, "nonsense", cases=["PHANTOM_0001"])


def test_a_slide_can_be_the_inferior_image(phantom: Phantom) -> None:
    """Roles belong to an experiment: here the slide guides nothing and is predicted from, through both encoders."""
    roles = {"inferior": GUIDE["superior"], "superior": GUIDE["inferior"], "modes": ("matched",), "permutations": 0}
    report = guide(phantom.opened, GuideSettings(cohort="phantom", folds=(0,), **roles))
    rows = phantom.opened.snapshot().rows("runs").to_pylist()
    run = next(r["run"] for r in rows if r["run"] in report.runs and r["row"] == "G(I)+I")
    known = stored(phantom, run)
    case = sorted(known)[0]
    prediction = predict(phantom.opened, run, files=[phantom.images / "Pathology" / f"{case}.tiff"])
    assert prediction.case_ids == (case,)
    np.testing.assert_allclose(prediction.probabilities_nk[0], known[case], atol=1e-6)
    with pytest.raises(InvalidInputError, match="predicts from slides"):
        predict(phantom.opened, run, files=[next((phantom.images / "Radiology").glob("*/*_t1.nii.gz"))])
