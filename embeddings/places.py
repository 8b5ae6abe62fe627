"""Where a store lies: a folder, or ``s3://bucket/prefix``. Imports little: `guidestore sql` starts from here.

A place is passed about as text; a `Path` is a folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError

_BUCKET = re.compile(r"s3://([^/]+)(?:/(.*))?", re.DOTALL)
_FOREIGN = re.compile(r"(s3|gs|gcs|az|abfs|abfss|https?|file|hdfs|memory):(/|$)", re.IGNORECASE)


def bucket_of(root: Path | str) -> tuple[str, str] | None:
    """(bucket, prefix) where `root` is a bucket, None where it is a folder. The prefix may be ''.

    Raises InvalidInputError on a URL that is neither.
    """
    text = str(root)
    url = _BUCKET.fullmatch(text)
    if url:
        parts = [part for part in (url[2] or "").split("/") if part not in ("", ".")]
        if ".." not in parts:
            return url[1], "/".join(parts)
    if _FOREIGN.match(text):
        raise InvalidInputError(f"{text} is no place for a store: name a folder, or s3://BUCKET/PREFIX")
    return None


def shown(root: Path | str) -> str:
    """`root` as a user writes it."""
    place = bucket_of(root)
    return str(root) if place is None else f"s3://{'/'.join(part for part in place if part)}"


def absolute(root: Path | str) -> str:
    """`root`, meaning the same in every working folder."""
    return str(Path(root).absolute()) if bucket_of(root) is None else shown(root)


def local_folder(root: Path | str) -> Path:
    """The store's own folder; of a bucket, a cache folder of this machine, where its index and what is staged lie."""
    if bucket_of(root) is None:
        return Path(root).absolute()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # A bucket of the same name on another server is another store.
    digest = hashlib.sha256(f"{endpoint()}\n{shown(root)}".encode()).hexdigest()
    return caches / "guidestore" / digest[:20]


def endpoint() -> str:
    """The S3 server that the environment names, '' where it is that of Amazon."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
