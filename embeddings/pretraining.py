"""Which public collections the public foundation encoders saw when they were pretrained, each by its authors' own
words.

Codes of an encoder that saw a cohort's slides may know its test cases. What is not sure is not here: then it is
unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from guidestore.embeddings.errors import unknown_name

COLLECTIONS: Mapping[str, str] = {
    "acrobat": "ACROBAT",
    "brax": "BRAX",
    "camelyon": "CAMELYON",
    "chexpert": "CheXpert",
    "cptac": "CPTAC",
    "gtex": "GTEx",
    "mimic-cxr": "MIMIC-CXR",
    "nih-cxr": "NIH ChestX-ray14",
    "padchest": "PadChest",
    "paip": "PAIP",
    "panda": "PANDA",
    "plco": "PLCO",
    "tcga": "TCGA",
}
"""Public collections that a cohort can be of, and their names."""

_BARCODES = {
    "tcga": re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}"),
    "cptac": re.compile(r"C3[LN]-\d{5}"),
    "gtex": re.compile(r"GTEX-[A-Z0-9]{4,5}"),
}


@dataclass(frozen=True, slots=True)
class Pretraining:
    """What an encoder saw."""

    names: tuple[str, ...]
    """As this project, TRIDENT, STAMP, LazySlide and AtlasPatch call the encoder."""
    saw: tuple[str, ...] | None
    """Of COLLECTIONS; empty: none of them, as its authors say; None: that is not sure."""
    source: str
    weights: str = ""
    """Licence of its weights, and whether they are gated, where no encoder of this project says it."""


_NON_COMMERCIAL = "CC-BY-NC-ND-4.0, gated"
_HUB = "its page on the model hub"

PRETRAINING = (
    Pretraining(("uni", "uni_v1", "uni1"), ("gtex",), "Chen et al. 2024, Mass-100K: MGH, BWH and GTEx"),
    Pretraining(("phikon",), ("tcga",), "Filiot et al. 2023, 6,093 slides of TCGA"),
    Pretraining(("phikon_v2", "phikon-v2", "phikonv2"), ("cptac", "gtex", "tcga"), "Filiot et al. 2024, PANCAN-XL"),
    Pretraining(
        ("ctranspath", "xiyue-wang-ctranspath-7c998680"), ("paip", "tcga"), "Wang et al. 2022, TCGA and PAIP", "GPL-3.0"
    ),
    Pretraining(("retccl", "xiyue-wang-retccl-931956f3"), ("paip", "tcga"), "Wang et al. 2023, TCGA and PAIP"),
    Pretraining(
        ("chief", "chief-ctranspath", "chief_ctranspath"),
        ("gtex", "paip", "panda", "tcga"),
        "Wang et al. 2024, over CTransPath",
    ),
    Pretraining(("midnight_12k", "midnight12k", "midnight"), ("tcga",), "Karasikov et al. 2025, 12k slides of TCGA"),
    Pretraining(
        ("kaiko-vits8", "kaiko-vits16", "kaiko-vitb8", "kaiko-vitb16", "kaiko-vitl14"),
        ("tcga",),
        "kaiko.ai 2024, slides of TCGA",
    ),
    Pretraining(("lunit-vits8", "lunit_vits8", "lunit"), ("tcga",), "Kang et al. 2023, TCGA and TULIP"),
    Pretraining(("hipt",), ("tcga",), "Chen et al. 2022, 10,678 slides of TCGA"),
    Pretraining(("madeleine",), ("acrobat",), "Jaume et al. 2024, ACROBAT and kidneys of BWH", _NON_COMMERCIAL),
    Pretraining(("virchow",), (), "Vorontsov et al. 2024, slides of MSKCC alone"),
    Pretraining(("prov_gigapath", "gigapath"), (), "Xu et al. 2024, slides of Providence alone"),
    Pretraining(
        ("rad_dino", "rad-dino"),
        ("brax", "chexpert", "mimic-cxr", "nih-cxr", "padchest"),
        "Pérez-García et al. 2025, radiographs of five public sets",
    ),
    Pretraining(("uni2_h", "uni2-h", "uni_v2", "uni2"), None, _HUB),
    Pretraining(("virchow2",), None, _HUB),
    Pretraining(("h_optimus_0", "h-optimus-0", "hoptimus0"), None, _HUB),
    Pretraining(("h_optimus_1", "h-optimus-1", "hoptimus1"), None, _HUB),
    Pretraining(("conch_v1_5", "conch_v15", "conchv1_5", "conch1_5"), None, _HUB),
    Pretraining(("conch_v1", "conch"), None, _HUB, _NON_COMMERCIAL),
    Pretraining(("musk",), None, _HUB, _NON_COMMERCIAL),
    Pretraining(("titan",), None, _HUB, _NON_COMMERCIAL),
    Pretraining(("prism",), None, _HUB, _NON_COMMERCIAL),
    Pretraining(("medsiglip", "medsiglip-448"), None, _HUB),
    Pretraining(("resnet50_trunc", "resnet50", "resnet18"), (), "ImageNet"),
)
_BY_NAME = {name: one for one in PRETRAINING for name in one.names}


def pretraining_of(encoder: str) -> Pretraining | None:
    """What is known of an encoder of that name; None: nothing."""
    return _BY_NAME.get(encoder.lower())


def check_collection(name: str) -> str:
    """Raises InvalidInputError for a name of no public collection."""
    if name not in COLLECTIONS:
        raise unknown_name("public collection", name, COLLECTIONS)
    return name


def collections_of(said: Iterable[str], case_ids: Iterable[str]) -> dict[str, str]:
    """Collection -> how it is known: somebody said so, or most case ids are its barcodes."""
    found = {name: "as was said" for name in said if name}
    ids = list(case_ids)
    for name, barcode in _BARCODES.items():
        if ids and name not in found and sum(bool(barcode.match(id_)) for id_ in ids) * 2 > len(ids):
            found[name] = "by its case ids"
    return found
