"""Files that are named by URL: read from where they lie into a file of this machine, for as long as they are read.

``s3://BUCKET/KEY`` is read as a store in a bucket is, with credentials from the environment; ``https://…`` and
``http://…`` as they are; ``file:///…`` is a file of this machine. A `Path` that was made of a URL has lost a slash, and
is taken for that URL.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname, urlopen

from guidestore.embeddings.errors import CorruptArtifactError, GuidestoreError, InvalidInputError, StorageError

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}(.*)", re.IGNORECASE | re.DOTALL)
_SILENCE_S = 60.0
READ = "s3://BUCKET/KEY, https://, http:// and file:// are read"


def url_of(place: Path | str) -> str | None:
    """``s3://BUCKET/KEY`` of that, or of a `Path` of it; None for a path."""
    found = _URL.fullmatch(str(place))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2]
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


@contextmanager
def fetched(place: Path | str) -> Iterator[Path]:
    """A local file with what lies at a path or URL; of a URL it is gone after the block, and errors name the URL.

    Raises InvalidInputError where there is no such file, or it cannot be fetched.
    """
    url = url_of(place)
    if url is None:
        yield Path(place)
        return
    parts = urlsplit(url)
    if parts.scheme == "file":
        yield Path(url2pathname(parts.path))
        return
    with TemporaryDirectory(prefix="guidestore-") as folder:
        file = Path(folder, Path(unquote(parts.path)).name or "file")
        if parts.scheme == "s3":
            _from_bucket(url, parts.netloc, parts.path.lstrip("/"), file)
        elif parts.scheme in ("http", "https"):
            _from_web(url, file)
        else:
            raise InvalidInputError(f"{url} cannot be read: {READ}; copy it to one of those")
        try:
            yield file
        except GuidestoreError as error:
            if str(file) in str(error):
                raise type(error)(str(error).replace(str(file), url)) from error
            raise


def refuse_url(place: Path | str, what: str) -> None:
    """Raises InvalidInputError where `place` is a URL: `what`, in words, is read from this machine's disks alone."""
    if (url := url_of(place)) and not url.startswith("file:"):
        raise InvalidInputError(
            f"{url}: {what} is read from a path of this machine alone; copy or mount it, and give that path"
        )


def _from_bucket(url: str, bucket: str, key: str, file: Path) -> None:
    from guidestore.embeddings.bucket import BucketStorage

    if not bucket or not key:
        raise InvalidInputError(f"{url} names no object; write s3://BUCKET/KEY")
    try:
        file.write_bytes(BucketStorage(bucket).read(key))
    except CorruptArtifactError as error:
        raise InvalidInputError(f"{url} is not there; correct the bucket or the key") from error
    except StorageError as error:
        raise InvalidInputError(f"{url} cannot be read ({error}); see what the server says") from error


def _from_web(url: str, file: Path) -> None:
    try:
        with urlopen(url, timeout=_SILENCE_S) as answer, file.open("wb") as handle:
            shutil.copyfileobj(answer, handle, 1 << 20)
            came, said = handle.tell(), answer.headers.get("Content-Length", "")
        if said.isdigit() and came != int(said):  # reading in pieces says nothing of an end that came too soon
            raise OSError(f"it ends after {came:,} of {int(said):,} bytes")
    except (HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise InvalidInputError(f"{url} cannot be read ({reason}); correct it, or fetch the file yourself") from error
