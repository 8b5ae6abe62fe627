"""Files that are named by URL: read from where they lie into a file of this machine, for as long as they are read.

``s3://BUCKET/KEY`` is read as a store in a bucket is, with credentials from the environment; ``https://…`` and
``http://…`` as they are, and what they lead on to where that is of the web too; ``file:///…`` is a file of this
machine. A `Path` that was made of a URL has lost a slash, and is taken for that URL. Errors and the store have a URL
without its query, which may be a signature.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit

from guidestore.embeddings.errors import CorruptArtifactError, GuidestoreError, InvalidInputError, StorageError

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}(.*)", re.IGNORECASE | re.DOTALL)
_SECRET = re.compile(r"\?[^\s'\"]*|(?<=://)[^\s/'\"]*@")
"""Of a URL within a sentence: its query, and a user with a password."""
_SILENCE_S = 60.0
_BLOCK_BYTES = 1 << 20
_LONGEST_NAME = 60
"""Characters of a file's name that are kept, from its end: a folder holds 255 bytes."""
READ = "s3://BUCKET/KEY, https://, http:// and file:// are read"


def url_of(place: Path | str) -> str | None:
    """``s3://BUCKET/KEY`` of that, or of a `Path` of it; None for a path."""
    found = _URL.fullmatch(str(place))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2]
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


def shown(place: Path | str) -> str:
    """A path, that of a file: URL, or a URL without a password, a signature or a token.

    Raises InvalidInputError where it has no host that one could ask.
    """
    url = url_of(place)
    if url is None or url.startswith("s3:"):  # the key of an object may hold any character
        return url or str(place)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        scheme = url.partition(":")[0]
        raise InvalidInputError(
            f"a URL of {scheme}:// names no host that can be; write {scheme}://HOST/FILE"
        ) from error
    if parts.scheme == "file":
        return unquote(parts.path)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextmanager
def fetched(place: Path | str) -> Iterator[Path]:
    """A local file with what lies at a path or URL; of a URL it is gone after the block, and errors name the URL.

    Raises InvalidInputError where there is no such file, or it cannot be fetched.
    """
    url = url_of(place)
    if url is None or url.startswith("file:"):
        yield Path(shown(place))
        return
    told = shown(url)
    with TemporaryDirectory(prefix="guidestore-") as folder:
        name = Path(unquote(told)).name[-_LONGEST_NAME:].replace("\0", "")
        file = Path(folder, name if name.strip(".") else "file")
        if url.startswith("s3:"):
            _from_bucket(url, file)
        elif url.startswith(("http:", "https:")):
            _from_web(url, file)
        else:
            raise InvalidInputError(f"{told} cannot be read: {READ}; copy it to one of those")
        try:
            yield file
        except GuidestoreError as error:
            if str(file) in str(error):
                raise type(error)(str(error).replace(str(file), told)) from error
            raise


@dataclass(frozen=True, slots=True)
class ByURL:
    """Of a path among settings: its file is read by URL too."""


FileOrURL = Annotated[Path | None, ByURL()]


def on_this_machine(place: Path | str, what: str) -> Path:
    """The path, or that of a file: URL. Raises InvalidInputError for another URL, which `what`, in words, cannot be."""
    url = url_of(place)
    if url and not url.startswith("file:"):
        raise InvalidInputError(
            f"{what} is a path of this machine, and {shown(url)} is none; copy or mount what lies there, and give that "
            "path"
        )
    return Path(shown(place))


def _from_bucket(url: str, file: Path) -> None:
    from guidestore.embeddings.bucket import BucketStorage

    bucket, _, key = url.removeprefix("s3://").partition("/")
    folder, _, name = key.rpartition("/")
    if not bucket or {"", ".", ".."} & set(key.split("/")) or "\\" in key or "\0" in key:
        raise InvalidInputError(f"{url} names no object; write s3://BUCKET/KEY")
    try:
        file.write_bytes(BucketStorage(bucket, folder).read(name))
    except CorruptArtifactError as error:
        raise InvalidInputError(
            f"{url} is no object that is there; correct the bucket or the key, and copy a folder to this machine first"
        ) from error
    except (StorageError, OSError) as error:
        raise InvalidInputError(f"{url} cannot be read ({error}); see what the server says") from error


def _from_web(url: str, file: Path) -> None:
    from http.client import HTTPException
    from urllib import request

    told = shown(url)
    if "@" in urlsplit(url).netloc:
        raise InvalidInputError(
            f"{told}: a user or a password within a URL is not read, and would be kept in histories; fetch the file "
            "yourself"
        )
    web = request.OpenerDirector()  # `urlopen` would follow to ftp
    for handler in (
        *(request.HTTPHandler, request.HTTPSHandler, request.HTTPRedirectHandler, request.HTTPDefaultErrorHandler),
        *(request.HTTPErrorProcessor, request.ProxyHandler, request.UnknownHandler),
    ):
        web.add_handler(handler())
    address = quote(url, safe="%/:=&?~#+!$,;'@()*[]")  # of blanks and letters that are not ASCII
    try:
        with web.open(address, timeout=_SILENCE_S) as answer, file.open("wb") as handle:
            packed = answer.headers.get("Content-Encoding", "identity").lower()
            if packed != "identity" and not told.endswith((".gz", ".zst", ".br")):  # nobody asked for it
                raise OSError(f"the server sends it compressed, as {packed}")
            most = shutil.disk_usage(file.parent).free // 2
            while block := answer.read(_BLOCK_BYTES):
                if handle.tell() > most:
                    raise OSError(f"it is longer than {most:,} bytes, half of the free disk")
                handle.write(block)
            came, said = handle.tell(), answer.headers.get("Content-Length", "")
        if said.isdigit() and came != int(said):  # reading in pieces says nothing of an end that came too soon
            raise OSError(f"it ends after {came:,} of {int(said):,} bytes")
    except (HTTPException, OSError, ValueError) as error:
        if isinstance(error, HTTPError):  # it holds the answer
            error.close()
        reason = _SECRET.sub("", str(getattr(error, "reason", None) or error))  # it may name where the server leads to
        raise InvalidInputError(f"{told} cannot be read ({reason}); correct it, or fetch the file yourself") from error
