"""What forms offer says which codes may know the test cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prefect.utilities.callables import ParameterSchema

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.serving.choices import choices_of, defaults_of, with_choices


def test_a_form_says_which_codes_an_encoder_made_that_saw_the_cohort(tmp_path: Path) -> None:
    store, file = EmbeddingStore.create(tmp_path / "store"), tmp_path / "codes.npz"
    for cohort, ids in (("public", [f"TCGA-AA-{n:04d}" for n in range(4)]), ("own", list("ABCD"))):
        for encoder in ("phikon", "virchow"):
            np.savez(file, case_id=ids, codes=np.random.default_rng(0).normal(size=(4, 3)))
            import_codes(store, file, cohort=cohort, modality="histology", encoder=encoder)
    store.tag("v1.0+b")
    fields = {name: {"type": "string", "description": f"{name}."} for name in ("inferior", "superior", "cohort", "at")}
    asked = ParameterSchema(definitions={"Form": {"properties": fields}})
    offered = with_choices(asked, choices_of(store.snapshot())).definitions["Form"]["properties"]
    for side in ("inferior", "superior"):
        assert offered[side]["enum"] == ["histology/phikon", "histology/virchow"]
        assert offered[side]["description"] == (
            f"{side}. saw-cohort, so its codes may know the test cases: histology/phikon of public."
        )
    assert offered["at"]["description"] == "at. It has v1.0+b."
    assert offered["cohort"]["description"] == "cohort."
    assert fields["inferior"]["description"] == "inferior.", "the form of another store"


@pytest.mark.parametrize(("kind", "decoder"), [("value", "ridge"), ("survival", "ridge"), ("classes", "")])
def test_the_form_begins_with_a_decoder_that_learns_its_target(tmp_path: Path, kind: str, decoder: str) -> None:
    """The automation retrains with these too."""
    store, file = EmbeddingStore.create(tmp_path / "store"), tmp_path / "codes.npz"
    for encoder in ("phikon", "virchow"):
        np.savez(file, case_id=list("ABCD"), codes=np.random.default_rng(0).normal(size=(4, 3)))
        import_codes(store, file, cohort="own", modality="histology", encoder=encoder)
    with store.begin("labels") as transaction:
        transaction.write_rows("cohorts", [{"cohort": "own", "layout": "import"}], cohort="own")
        target = {"cohort": "own", "target": "grade", "kind": kind}
        transaction.write_rows("targets", [target], cohort="own")
    given = defaults_of(store.snapshot())
    assert given["retrain"].get("decoder", "") == decoder
    assert given["sweep"]["decoder"] == [{"name": decoder or "logistic"}]
