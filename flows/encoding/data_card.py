"""The README of a published data set: YAML that Hugging Face reads, and what a person must know."""

from __future__ import annotations

from typing import Any

from guidestore.flows.encoding.data_set import DataSet

_TEXT = """
# {name}

Latent codes of medical images with labels and splits, as a guidestore had them at snapshot {snapshot} (commit
`{sha256}`, {created_at}).

| config | cohort | modality | encoder | rows | dimensions | trained on | licence of the weights |
|---|---|---|---|---|---|---|---|
{sets}

- `codes` are a row per case code, `bags` a row per tile with x, y in level-0 pixels. Vectors are fixed-size lists.
- `artifacts` says what each was made from (sha256 of image files, or artifact ids of bags) and in which row groups a
  bag lies. `croissant.json` has the sha256 of every file.
- `trained on` is what the encoder saw: `none` of these cases, `unknown`, or one fold of a cohort: such codes go with
  that fold of that split alone.
{seen}- Licence of the data: {licence}.

```python
from datasets import load_dataset

codes = load_dataset("THIS FOLDER", "{first}", split="train")
```

```python
import datetime, duckdb, fsspec  # over http, without DuckDB's httpfs

http = fsspec.filesystem("http")
http.modified = lambda path: datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)  # DuckDB asks, fsspec's has no answer
duckdb.register_filesystem(http)
duckdb.sql("SELECT case_id, image_id FROM 'http://HOST/{first_file}'")
```

`guidestore import "THIS FOLDER"` brings the same artifacts back. Research data: codes may tell something about
patients, and nothing here is validated for a clinical decision.
"""


def data_card(data: DataSet) -> str:
    """README.md."""
    import yaml

    paths = {item.name: item.file for item in data.sets}
    paths |= {stem: f"{stem}.parquet" for stem in data.tables}
    front: dict[str, Any] = {
        "license": "other",
        "license_name": data.licence or "not-stated",
        "pretty_name": data.name,
        "tags": ["embeddings", "medical", "guidestore"],
        "configs": [
            {"config_name": name, "data_files": [{"split": "train", "path": path}]} for name, path in paths.items()
        ],
    }
    sets = "\n".join(
        f"| `{item.name}` | {item.key.cohort} | {item.key.modality} | {item.key.encoder} | {item.rows:,} "
        f"| {item.key.code_dim} | {item.key.trained_on} | {item.licence or 'unknown'} |"
        for item in data.sets
    )
    text = _TEXT.format(
        name=data.name,
        snapshot=data.snapshot,
        sha256=data.commit["sha256"],
        created_at=data.commit["created_at"],
        sets=sets,
        seen="".join(f"- {note}\n" for note in dict.fromkeys(note for item in data.sets for note in item.seen)),
        licence=data.licence or "not stated",
        first=data.sets[0].name,
        first_file=data.sets[0].file,
    )
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{text}"
