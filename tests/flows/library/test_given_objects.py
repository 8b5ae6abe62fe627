"""Encoders, layouts and sweeps handed over as objects, against numpy and against the names that mean the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import guidestore as gs
from guidestore.embeddings.types import EncoderSpec
from guidestore.warehouse.cohorts.cohort import CohortTables

ENCODER = """
import numpy as np
from guidestore.embeddings.types import EncoderSpec

class Power:
    spec = EncoderSpec("power", "1", "photographs", 3)
    def __init__(self, to=1.0, table=None):
        self.to, self.table = to, table
    def encode(self, batch):
        return ((batch / 255.0) ** self.to).mean(axis=(1, 2)).astype(np.float32)
"""


class Pictures:
    """A layout without fields of pydantic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, reading) -> CohortTables:
        import hashlib

        files = sorted(self.folder.glob("*.png"))
        images = [
            {
                "case_id": file.stem,
                "modality": "photo",
                "image_id": file.stem,
                "path": str(file),
                "size": file.stat().st_size,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            for file in files
        ]
        return CohortTables(
            reading.cohort,
            cohorts=[{"layout": "pictures", "source": "made", "pseudonymized": False, "note": ""}],
            cases=[{"case_id": file.stem} for file in files],
            images=images,
        )


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the encoder."""
    file = tmp_path / "code" / "power_of_pictures.py"
    file.parent.mkdir()
    file.write_text(ENCODER)
    monkeypatch.syspath_prepend(str(file.parent))
    yield file
    sys.modules.pop(file.stem, None)


def test_an_encoder_and_a_layout_are_objects(tmp_path: Path, module: Path) -> None:
    from power_of_pictures import Power  # pyright: ignore[reportMissingImports]

    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {f"Jane-{number}": rng.integers(0, 256, (64, 64, 3), np.uint8) for number in range(3)}
    for name, pixels in arrays.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    store = gs.open(tmp_path / "store", create=True)
    added = store.add_cohort("made", Pictures(folder))
    assert {row["what"]: row["added"] for row in added.rows()}["images"] == 3

    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("Jane-8", "Jane-9"):
        (twice / f"{name}.png").write_bytes((folder / "Jane-0.png").read_bytes())
    same = store.add_cohort("same", Pictures(twice))
    assert "Jane-8 = Jane-9" in same.notes[0]
    assert "Jane" not in repr(same) + str(same) + same._repr_html_()

    row = store.encode("made", "photo", Power(to=2.0), photograph_px=64).rows()[0]
    assert (row["encoded"], row["quarantined"]) == (3, 0)
    codes = store.embeddings.snapshot().codes(store.embeddings.snapshot().code_set("made/photo/power"))
    expected = [((arrays[case] / 255.0) ** 2.0).mean(axis=(0, 1)) for case in codes.case_ids]
    np.testing.assert_allclose(codes.codes_nd, expected, rtol=1e-6)
    assert store.encode("made", "photo", Power(to=2.0), photograph_px=64)["existing"] == [3]
    for other in (Power(to=3.0), Power(table=np.ones(2)), Power(table=np.zeros(2))):
        assert store.encode("made", "photo", other).rows()[0]["encoded"] == 3, vars(other)
    assert len(store.code_sets("made")) == 4

    (folder / "Jane-1.png").write_bytes(b"\x89PNG broken")
    broken = store.encode("made", "photo", Power(to=5.0))
    assert broken.rows()[0]["quarantined"] == 1
    assert "Jane" not in repr(broken)
    assert store.sql("FROM quarantine")["case_id"] == ["Jane-1"]


def test_what_is_no_object_of_its_kind_is_refused_in_a_sentence(tmp_path: Path) -> None:
    store = gs.open(tmp_path / "store", create=True)

    class Short:
        spec = EncoderSpec("short", "1", "photographs", 3)

    for wrong, sentence in ((Short(), "a Short is no encoder"), (Short, "the class Short is no encoder")):
        with pytest.raises(gs.InvalidInputError, match=sentence):
            store.encode("made", "photo", wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(gs.InvalidInputError, match="the class Pictures is no layout"):
        store.add_cohort("made", Pictures)  # pyright: ignore[reportArgumentType]
    with pytest.raises(gs.InvalidInputError, match="leave out images"):
        store.add_cohort("made", Pictures(tmp_path), images="x.csv")  # pyright: ignore[reportArgumentType]
    with pytest.raises(gs.InvalidInputError, match=r"cohort layout 'manifesto'.*manifest"):
        store.add_cohort("made", "manifesto")
    with pytest.raises(gs.InvalidInputError, match="sweep is 3; it must be a path or text or a mapping"):
        store.sweep(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(gs.InvalidInputError, match="give the sweep a name"):
        store.sweep({"cohort": "made"})


@pytest.mark.parametrize("of", ["a forest", "voters", "a stack"])
def test_ensembles_of_scikit_learn_are_decoders_and_g(tmp_path: Path, of: str) -> None:
    """One that was not fitted has no length, so not even a truth; names and parts are a list to it."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, StackingClassifier, VotingClassifier
    from sklearn.linear_model import LogisticRegression

    parts = [("line", LogisticRegression()), ("forest", RandomForestClassifier(3, random_state=0))]
    decoder = {
        "a forest": RandomForestClassifier(3, random_state=0),
        "voters": VotingClassifier(parts, voting="soft"),
        "a stack": StackingClassifier(parts, LogisticRegression(), cv=2),
    }[of]
    store = gs.open(tmp_path / "store", create=True)
    rng = np.random.default_rng(0)
    ids, hidden = [f"case-{n}" for n in range(60)], rng.normal(size=(60, 3))
    store.add_codes("trial", "mri", "weak", hidden[:, :2], ids)
    store.add_codes("trial", "slide", "strong", hidden, ids)
    store.add_labels("trial", {"case_id": ids, "grade": np.where(hidden.sum(axis=1) > 0, "high", "low")})
    store.add_split("trial", folds=3)
    data = store.pair("trial", "mri/weak", "slide/strong", fold=0)
    head = gs.fit(data, guidance=RandomForestRegressor(3, random_state=0), decoder=decoder)
    assert head.score("test")["auroc"] > 0.6
    head.save(tmp_path / "head")
    x_nd = data.xy("test")[0]
    assert np.array_equal(gs.load(tmp_path / "head").predict_proba(x_nd), head.predict_proba(x_nd))
