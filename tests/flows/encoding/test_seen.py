"""An encoder that saw a public collection, and a cohort that is of it: said wherever its codes are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pretraining import COLLECTIONS, PRETRAINING, collections_of, pretraining_of
from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, CodeSetName, EncoderSpec
from guidestore.encoders.registry import encoder_infos
from guidestore.flows.encoding.committing import register_encoder
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.encoding.licences import weights_licence
from guidestore.flows.encoding.lookups import describe_cohort
from guidestore.flows.encoding.seen import keys_that_saw, seen_in, seen_notes
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest

IDS = [f"P{i}" for i in range(8)]


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store")


def bring(store: EmbeddingStore, encoder: str, ids: list[str] = IDS) -> list[str]:
    file = store.storage.local_folder.parent / "codes.npz"
    np.savez(file, case_id=ids, codes=np.random.default_rng(0).normal(size=(len(ids), 4)))
    import_codes(store, file, cohort="c", modality="histology", encoder=encoder)
    return seen_notes(store.snapshot(), "c", [CodeSetName("c", "histology", encoder)])


def labelled(store: EmbeddingStore, tmp_path: Path, source: str) -> None:
    (tmp_path / "labels.csv").write_text("case_id,grade\n" + "\n".join(f"{id_},{n % 2}" for n, id_ in enumerate(IDS)))
    add_layout(store, "c", Manifest(labels=tmp_path / "labels.csv", source=source))


def test_an_encoder_that_saw_the_collection_of_the_cohort_is_named(store: EmbeddingStore, tmp_path: Path) -> None:
    assert bring(store, "phikon") == [], "nobody said what the cohort is of"
    labelled(store, tmp_path, "tcga")
    (note,) = bring(store, "phikon")
    assert note.startswith("saw-cohort: encoder phikon was pretrained on TCGA (as was said), which cohort c is of")
    assert "Filiot et al. 2023" in note
    assert bring(store, "virchow") == [], "it saw slides of one hospital alone"
    assert bring(store, "my_own") == []


def test_runs_on_such_codes_say_it_once(store: EmbeddingStore, tmp_path: Path) -> None:
    """As paper tables, reports, Prefect's result and the library's studies do."""
    bring(store, "phikon")
    labelled(store, tmp_path, "tcga")
    (expected,) = bring(store, "phikon")
    name = CodeSetName("c", "histology", "phikon")
    runs = [Run(f"r{n}", "c", "grade", "cv", n, "S", superior=name) for n in range(3)]
    assert seen_in(store.snapshot(), runs) == [expected]


def test_an_untrained_network_of_that_name_saw_nothing(store: EmbeddingStore, tmp_path: Path) -> None:
    """As encode --weights random makes it."""
    bring(store, "phikon")
    labelled(store, tmp_path, "tcga")
    spec = EncoderSpec("phikon", "1", "tiles", 4, "", {"weights": "random"})
    with store.begin("control") as transaction:
        register_encoder(transaction, spec, {})
        codes = CaseCodes(tuple(IDS), np.eye(8, 4, dtype=np.float32), key=CodeSetKey.of("c", "histology", spec))
        transaction.write_codes(codes, input_digests=[[case] for case in IDS])
    (saw,) = keys_that_saw(store.snapshot())
    assert saw.encoder_digest != spec.digest
    told = {row["name"]: row["detail"] for row in describe_cohort(store.snapshot(), "c") if row["what"] == "codes"}
    assert [spec.digest[:12] not in name for name, detail in told.items() if "saw-cohort" in detail] == [True]


def test_the_licence_of_imported_weights_is_told(store: EmbeddingStore) -> None:
    assert weights_licence("uni_v1") == weights_licence("uni") == "CC-BY-NC-ND-4.0, gated"
    assert weights_licence("TITAN") == "CC-BY-NC-ND-4.0, gated"
    assert weights_licence("gigapath") == "Apache-2.0, gated"
    assert weights_licence("midnight12k") == "MIT"
    assert weights_licence("my_own") == weights_licence("texture") == ""
    bring(store, "hoptimus1")
    bring(store, "my_own")
    details = {row["name"]: row["detail"] for row in describe_cohort(store.snapshot(), "c") if row["what"] == "codes"}
    told = {name.split("@")[0].rpartition("/")[2]: detail for name, detail in details.items()}
    assert told["hoptimus1"].endswith(", weights CC-BY-NC-ND-4.0, gated")
    assert "weights" not in told["my_own"]


def test_barcodes_say_it_too(store: EmbeddingStore) -> None:
    assert "TCGA (by its case ids)" in bring(store, "ctranspath", [f"TCGA-AA-{i:04d}" for i in range(8)])[0]
    assert collections_of([], ["TCGA-AA-0001", "X", "Y"]) == {}


def test_a_collection_that_there_is_not_is_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    bring(store, "phikon")
    with pytest.raises(InvalidInputError, match="public collection 'tgca' is unknown: did you mean 'tcga'"):
        labelled(store, tmp_path, "tgca")


def test_the_registry_names_collections_and_sources() -> None:
    names = [name for one in PRETRAINING for name in one.names]
    assert len(set(names)) == len(names)
    for one in PRETRAINING:
        assert set(one.saw or ()) <= COLLECTIONS.keys()
        assert one.source
    assert pretraining_of("UNI_v1") is pretraining_of("uni")
    assert {"uni", "phikon", "phikon_v2", "virchow", "prov_gigapath", "midnight_12k"} <= encoder_infos().keys()
