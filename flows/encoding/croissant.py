"""Croissant 1.1 (JSON-LD of MLCommons) of a published data set, with its lineage as PROV-O."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pyarrow as pa

from guidestore.flows.encoding.data_set import DataSet, PublishedSet

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_TERMS = (
    *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract"),
    *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
    *("key", "md5", "parentField", "path", "readLines", "recordSet", "references", "regex", "repeated", "replace"),
    *("samplingRate", "sdVersion", "separator", "source", "subField", "transform", "unArchive", "value"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "guidestore": "urn:guidestore:",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{name: f"cr:{name}" for name in _TERMS},
}
"""Appendix 1 of the specification, PROV-O, and what we say of encoders."""
_TYPES = {"bool": "sc:Boolean", "string": "sc:Text", "halffloat": "cr:Float16", "float": "cr:Float32"}
_TYPES |= {"double": "cr:Float64", "int32": "cr:Int32", "int64": "cr:Int64"}


def croissant(data: DataSet) -> dict[str, Any]:
    """The JSON-LD document."""
    record_sets = [_records(stem, f"{stem}.parquet", schema) for stem, schema in data.tables.items()]
    record_sets += [_code_set(item) for item in data.sets]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": data.name,
        "description": (
            f"Latent codes of medical images of {data.name}: {len(data.sets)} code sets, with labels and splits, as a "
            f"guidestore had them at snapshot {data.snapshot}."
        ),
        "license": data.licence or "not stated",
        "url": data.url or f"urn:guidestore:commit:{data.commit['sha256']}",
        "version": f"{data.snapshot}.0.0",
        "datePublished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "dateCreated": data.commit["created_at"],
        "creator": {"@type": "sc:Organization", "name": data.creator or "not stated"},
        "keywords": ["embeddings", "medical imaging", *sorted({item.key.modality for item in data.sets})],
        "isLiveDataset": False,
        "rai:personalSensitiveInformation": (
            "Pseudonymized cases of patients, and the sha256 of their images."
            if data.pseudonymized
            else "Case ids as the publisher's store has them; codes may tell something about patients."
        ),
        "prov:wasDerivedFrom": {"@id": f"urn:guidestore:commit:{data.commit['sha256']}"},
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"guidestore publish of snapshot {data.snapshot}",
            "prov:endedAtTime": data.commit["created_at"],
            "guidestore:environment": json.dumps(data.commit["environment"], sort_keys=True),
        },
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": path,
                "name": path,
                "contentUrl": path,
                "contentSize": f"{size} B",
                "encodingFormat": "application/x-parquet",
                "sha256": sha256,
            }
            for path, (size, sha256) in data.files.items()
        ],
        "recordSet": record_sets,
    }


def _records(name: str, path: str, schema: pa.Schema) -> dict[str, Any]:
    fields = [_field(name, path, field) for field in schema]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": [field for field in fields if field]}


def _field(record_set: str, path: str, field: pa.Field) -> dict[str, Any] | None:
    kind, shape = field.type, ""
    if pa.types.is_fixed_size_list(kind):
        kind, shape = kind.value_type, str(kind.list_size)
    elif pa.types.is_list(kind):
        kind, shape = kind.value_type, "-1"
    if str(kind) not in _TYPES:
        return None  # structs of files: their columns stand in the Parquet file
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{field.name}",
        "name": field.name,
        "dataType": _TYPES[str(kind)],
        **({"isArray": True, "arrayShape": shape} if shape else {}),
        "source": {"fileObject": {"@id": path}, "extract": {"column": field.name}},
    }


def _code_set(item: PublishedSet) -> dict[str, Any]:
    records = _records(item.name, item.file, item.schema)
    encoder = item.encoder
    records["description"] = f"{item.items} {'bags' if item.key.kind == 'bag' else 'case codes'} of {item.key}"
    records["prov:wasGeneratedBy"] = {
        "@type": "prov:Activity",
        "prov:label": f"encoder {item.key.encoder}",
        "guidestore:encoderDigest": item.key.encoder_digest,
        "guidestore:encoderVersion": encoder.get("version") or "",
        "guidestore:weightsSha256": encoder.get("weights_sha256") or "",
        "guidestore:preprocessing": encoder.get("preprocessing") or "{}",
        "guidestore:trainedOn": str(item.key.trained_on),
        "guidestore:weightsLicence": item.licence or "unknown",
        "guidestore:sawCohort": list(item.seen),
    }
    return records
