"""Patient ids as keyed hashes, from before they reach the create-only log. The key stays outside the store.

A pseudonym is the HMAC-SHA256 of the id under a random key in a file that only its owner can read. Paths of images hold
ids too, so they stand in ``KEYFILE.images.parquet`` beside the key and not in the store; `image_paths` reads them back.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ulid import ULID

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.storage import disk_errors
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.cohort import CohortTables, as_rows

_KEY_BYTES = 32
_HEX = 20
"""80 bits: no two of a million patients share a pseudonym, with odds of 1 to 10^12 against."""
_PLACES = pa.schema([(name, pa.string()) for name in ("cohort", "image_id", "modality", "path")])


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Turns ids into pseudonyms with the key in `keyfile`. Made by `load_or_create`."""

    keyfile: Path
    key: bytes

    @classmethod
    def load_or_create(cls, keyfile: Path | str, store: EmbeddingStore) -> Pseudonyms:
        """The key in `keyfile`; a new one, readable by its owner only, where there is none.

        Raises InvalidInputError if the file lies inside the store, can be read by others, or holds no key.
        """
        keyfile = Path(keyfile).absolute()
        root = store.storage.local_folder.resolve()
        if keyfile.resolve().is_relative_to(root):
            raise InvalidInputError(
                f"the key {keyfile} lies inside the store {root}, where it would travel with the data; put it elsewhere"
            )
        if not keyfile.exists():
            with disk_errors("write", keyfile):
                keyfile.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(keyfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(_KEY_BYTES) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
        return cls.load(keyfile)

    @classmethod
    def load(cls, keyfile: Path | str) -> Pseudonyms:
        """The key in `keyfile`. Raises InvalidInputError if there is none or others can read it."""
        keyfile = Path(keyfile).absolute()
        try:
            others = stat.S_IMODE(keyfile.stat().st_mode) & 0o077
            text = keyfile.read_text().strip()
            key = bytes.fromhex(text)
        except FileNotFoundError as error:
            raise InvalidInputError(
                f"there is no key file {keyfile}; name the one that the cohort was added with"
            ) from error
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{keyfile} holds no key: it must be {2 * _KEY_BYTES} hex digits") from error
        if len(key) != _KEY_BYTES:
            raise InvalidInputError(f"{keyfile} holds no key: it must be {2 * _KEY_BYTES} hex digits")
        if others:
            raise InvalidInputError(f"the key {keyfile} can be read by others: run `chmod 600 {keyfile}`")
        return cls(keyfile, key)

    def case(self, case_id: str) -> str:
        """The pseudonym of a case: ``p`` and 20 hex digits, always the same under one key."""
        return self._hash("case", case_id)

    def image(self, case_id: str, image_id: str) -> str:
        """The pseudonym of an image; that of its case where the image is named like it."""
        return self.case(case_id) if image_id == case_id else self._hash("image", case_id, image_id)

    def _hash(self, *words: str) -> str:
        return "p" + hmac.new(self.key, "\0".join(words).encode(), "sha256").hexdigest()[:_HEX]

    def hide(self, store: EmbeddingStore, tables: CohortTables) -> CohortTables:
        """`tables` without an original id or path. The paths are kept beside the key first.

        Labels, parts and digests stay as they are; so do target and class names, which must not be ids.
        """
        if self.keyfile.resolve().is_relative_to(store.storage.local_folder.resolve()):
            raise InvalidInputError(f"the key {self.keyfile} lies inside the store; put it elsewhere")
        images = [
            {
                **row,
                "case_id": self.case(row["case_id"]),
                "image_id": self.image(row["case_id"], row["image_id"]),
            }
            for row in as_rows(tables.images)
        ]
        self._keep_places(tables.cohort, images)
        return replace(
            tables,
            cohorts=[{**row, "source": "", "pseudonymized": True} for row in as_rows(tables.cohorts)]
            or [{"layout": "", "source": "", "pseudonymized": True, "note": ""}],
            cases=[{**row, "case_id": self.case(row["case_id"])} for row in as_rows(tables.cases)],
            labels=[{**row, "case_id": self.case(row["case_id"])} for row in as_rows(tables.labels)],
            unlabelled=[{**row, "case_id": self.case(row["case_id"])} for row in as_rows(tables.unlabelled)],
            splits=[
                {
                    **row,
                    "case_id": self.case(row["case_id"]),
                    "origin": "given" if row.get("origin", "").startswith("given") else row.get("origin", ""),
                }
                for row in as_rows(tables.splits)
            ],
            images=[
                {**row, "path": "", "files": [{**file, "path": ""} for file in row.get("files") or ()]}
                for row in images
            ],
        )

    @property
    def places_file(self) -> Path:
        """Where the paths of images stand."""
        return Path(f"{self.keyfile}.images.parquet")

    def image_paths(self, cohort: str) -> dict[tuple[str, str], Path]:
        """(image_id, modality) -> file, of a pseudonymized cohort; ids are pseudonyms."""
        return {
            (row["image_id"], row["modality"]): Path(row["path"]) for row in self._places() if row["cohort"] == cohort
        }

    def _places(self) -> list[dict[str, str]]:
        return pq.read_table(self.places_file).to_pylist() if self.places_file.exists() else []

    def _keep_places(self, cohort: str, images: list[dict[str, Any]]) -> None:
        places = {(row["cohort"], row["image_id"], row["modality"]): row["path"] for row in self._places()}
        places.update({(cohort, row["image_id"], row["modality"]): row["path"] for row in images})
        rows = [dict(zip(_PLACES.names, (*key, path), strict=True)) for key, path in sorted(places.items())]
        temporary = Path(f"{self.places_file}.{ULID()}.tmp")
        with disk_errors("write", self.places_file):
            temporary.touch(0o600, exist_ok=False)
            pq.write_table(pa.Table.from_pylist(rows, schema=_PLACES), temporary)
            temporary.rename(self.places_file)
