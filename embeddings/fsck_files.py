"""Whether a file is as a commit names it."""

from __future__ import annotations

import hashlib

from guidestore.embeddings.errors import GuidestoreError, InvalidNameError
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.storage import Storage


def check_file(storage: Storage, file: FileRef) -> tuple[str, str] | None:
    """(problem, detail) where `file` is not as it was committed."""
    try:
        size = storage.size(file.path)
    except InvalidNameError as error:
        return "damaged", f"{error}: the commit was forged"
    if size is None:
        return (
            "missing",
            "a commit names it; restore it from a copy, or `guidestore fsck --drop-damaged` and make it again",
        )
    if size != file.size:
        return "damaged", f"{size} bytes instead of {file.size}"
    try:
        data = storage.read(file.path)
    except GuidestoreError as error:
        return "damaged", str(error)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        return "damaged", "its bytes are not those that were committed"
    return None
