"""One commit as it stands in ``commits/<N>.json``: what it adds, removes, names and purges. Carries its own digest.

Reading passes over keys that a later guidestore may have added: what must not be passed over raises the revision in
``format.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from guidestore.embeddings.canonical import canonical_json, canonical_text, sha256_of
from guidestore.embeddings.errors import CorruptArtifactError


@dataclass(frozen=True, slots=True)
class FileRef:
    """A committed file: path relative to the root, size in bytes, hex sha256 of its bytes."""

    path: str
    size: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "sha256": self.sha256}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> FileRef:
        return cls(raw["path"], raw["size"], raw["sha256"])


@dataclass(frozen=True, slots=True)
class Entry:
    """One artifact of a snapshot and the files that hold it.

    kind: bag, codes, weights, run, or ``rows:<kind>``. Several entries may share a file (64 case codes in one Parquet
    file). `split`, `fold`: the fold scope; '' and -1 outside folds. `meta`: JSON-able, of the kind.
    `supersedes`: ids of artifacts that the commit takes away because this one says better what they said.
    """

    artifact: str
    kind: str
    path: str
    files: tuple[FileRef, ...]
    cohort: str = ""
    case_id: str = ""
    image_id: str = ""
    modality: str = ""
    encoder: str = ""
    encoder_digest: str = ""
    trained_on: str = ""
    split: str = ""
    fold: int = -1
    dtype: str = ""
    shape: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    supersedes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "files": [file.as_json() for file in self.files], "meta": dict(self.meta)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Entry:
        return cls(
            **{
                **{name: raw[name] for name in cls.__slots__},
                "files": tuple(FileRef.from_json(file) for file in raw["files"]),
                "shape": tuple(raw["shape"]),
                "inputs": tuple(raw["inputs"]),
                "supersedes": tuple(raw["supersedes"]),
            }
        )


@dataclass(frozen=True, slots=True)
class AliasMove:
    """`name` points to `snapshot` from this commit on; `artifact` names a run in it, '' for the whole snapshot."""

    name: str
    snapshot: int
    artifact: str = ""


@dataclass(frozen=True, slots=True)
class Tag:
    """`name` means `snapshot` for ever."""

    name: str
    snapshot: int


@dataclass(frozen=True, slots=True)
class Removal:
    """Artifact `artifact` no longer lies at `path` from this commit on (earlier snapshots keep it)."""

    artifact: str
    path: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """A file rewritten without a withdrawn case: readers of any snapshot go from `old` to `new` (None: deleted)."""

    old: FileRef
    new: FileRef | None


@dataclass(frozen=True, slots=True)
class Purge:
    """A withdrawn case: gone from every snapshot. The redirects are the tombstones that fsck accepts."""

    cohort: str
    case_id: str
    artifacts: tuple[str, ...]
    redirects: tuple[Redirect, ...]
    weights: tuple[str, ...] = ()
    """Artifacts of the trained weights that saw the case: a purge that is run again can still name them."""

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Purge:
        redirects = (
            Redirect(FileRef.from_json(item["old"]), FileRef.from_json(item["new"]) if item["new"] else None)
            for item in raw["redirects"]
        )
        return cls(raw["cohort"], raw["case_id"], tuple(raw["artifacts"]), tuple(redirects), tuple(raw["weights"]))


@dataclass(frozen=True, slots=True)
class Commit:
    """An atomic change of the store. `sha256` covers all other fields; `parent_sha256` chains the log."""

    version: int
    commit_uuid: str
    parent: int
    parent_sha256: str
    created_at: str
    """UTC, ISO 8601."""
    actor: Mapping[str, Any]
    message: str = ""
    add: tuple[Entry, ...] = ()
    remove: tuple[Removal, ...] = ()
    aliases: tuple[AliasMove, ...] = ()
    tags: tuple[Tag, ...] = ()
    purge: tuple[Purge, ...] = ()
    add_file: FileRef | None = None
    """The table of a large commit's entries: they stand there, and not in the JSON."""
    _digest: list[str] = field(default_factory=list, compare=False, repr=False)
    """`sha256` once it is known; it is asked for often and takes long for many entries."""

    def header(self) -> dict[str, Any]:
        """All but what the commit changes."""
        return {
            "version": self.version,
            "commit_uuid": self.commit_uuid,
            "parent": self.parent,
            "parent_sha256": self.parent_sha256,
            "created_at": self.created_at,
            "actor": dict(self.actor),
            "message": self.message,
        }

    def body(self) -> dict[str, Any]:
        return {
            **self.header(),
            "add": [] if self.add_file else [entry.as_json() for entry in self.add],
            "add_file": self.add_file.as_json() if self.add_file else None,
            "remove": [asdict(removal) for removal in self.remove],
            "aliases": [asdict(move) for move in self.aliases],
            "tags": [asdict(tag) for tag in self.tags],
            "purge": [asdict(purge) for purge in self.purge],
        }

    @property
    def sha256(self) -> str:
        if not self._digest:
            self._digest.append(sha256_of(self.body()))
        return self._digest[0]

    def to_bytes(self) -> bytes:
        return sealed_json(self.body())

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Commit:
        """Parses and verifies; entries in an `add_file` are not read. Raises CorruptArtifactError naming `path`."""
        raw, digest = _opened(data, path)
        try:
            commit = cls(
                version=raw["version"],
                commit_uuid=raw["commit_uuid"],
                parent=raw["parent"],
                parent_sha256=raw["parent_sha256"],
                created_at=raw["created_at"],
                actor=raw["actor"],
                message=raw["message"],
                add=tuple(Entry.from_json(entry) for entry in raw["add"]),
                remove=tuple(_known(Removal, removal) for removal in raw["remove"]),
                aliases=tuple(_known(AliasMove, move) for move in raw["aliases"]),
                tags=tuple(_known(Tag, tag) for tag in raw["tags"]),
                purge=tuple(Purge.from_json(purge) for purge in raw["purge"]),
                add_file=None if raw["add_file"] is None else FileRef.from_json(raw["add_file"]),
                _digest=[digest],
            )
            commit.check()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptArtifactError(
                f"{path} is sealed but no commit ({type(error).__name__} {error}): another program wrote it; restore "
                "it from a copy"
            ) from error
        return commit

    def check(self) -> None:
        """Raises TypeError or ValueError where a field cannot be: what is sealed may be another program's."""
        redirects = [redirect for purge in self.purge for redirect in purge.redirects]
        files = [file for entry in self.add for file in entry.files]
        files += [file for redirect in redirects for file in (redirect.old, redirect.new) if file]
        files += [self.add_file] if self.add_file else []
        for record in (self, *self.add, *self.remove, *self.aliases, *self.tags, *self.purge, *files):
            for item in fields(record):
                _check_field(record, item.name, str(item.type))


_PLAIN = {"str": str, "int": int, "tuple[str, ...]": str, "tuple[int, ...]": int, "Mapping[str, Any]": Mapping}


def _check_field(record: object, name: str, annotation: str) -> None:
    wanted, held = _PLAIN.get(annotation), getattr(record, name)
    for value in held if annotation.startswith("tuple") else (held,):
        if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise TypeError(f"{name} is of another type")
        if wanted is int and abs(value) >= (2**31 if isinstance(record, Entry) else 2**63):
            raise ValueError(f"{name} is out of range")
        if name == "path" and (value.startswith("/") or ".." in value.split("/") or {"\\", "\0"} & set(value)):
            raise ValueError(f"{name} leads out of the store")


def _known[T](record: type[T], raw: Mapping[str, Any]) -> T:
    """A flat record of its own keys in `raw`; others are passed over."""
    return record(**{item.name: raw[item.name] for item in fields(record)})  # pyright: ignore[reportArgumentType]


def sealed_json(body: Mapping[str, Any]) -> bytes:
    """Canonical JSON of `body` with its own sha256 under the key ``sha256``, and a newline."""
    return canonical_json({**body, "sha256": sha256_of(dict(body))}).encode() + b"\n"


def open_sealed_json(data: bytes, path: str) -> dict[str, Any]:
    """The body of `sealed_json`. Raises CorruptArtifactError where a single byte is not as it was written."""
    return _opened(data, path)[0]


def _opened(data: bytes, path: str) -> tuple[dict[str, Any], str]:
    try:
        sealed = json.loads(data)
        body = {key: value for key, value in sealed.items() if key != "sha256"}
        digest = sealed["sha256"]
        # The bytes are compared too, so that a flip that JSON reads the same (a space, an escape) is seen as well.
        whole = (
            hashlib.sha256(canonical_text(body).encode()).hexdigest() == digest
            and canonical_text(sealed).encode() + b"\n" == data
        )
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CorruptArtifactError(f"{path} is damaged: it is no sealed JSON; restore it from a copy") from error
    if not whole:
        raise CorruptArtifactError(f"{path} is damaged: its digest does not match; restore it from a copy")
    return body, digest


def dedupe_paths(files: Sequence[FileRef]) -> list[FileRef]:
    """One FileRef per path, in first-seen order."""
    return list({file.path: file for file in files}.values())
