"""A store in an S3 bucket. What the store asks of it is in `Storage`; what goes over the wire is in
docs/store-format.md, "On S3".

Every request is idempotent, so all of them are sent again after 5xx, cut connections and timeouts, until the bucket
was silent for `GUIDESTORE_S3_PATIENCE_S`. A create carries a nonce in the object's metadata: where an answer was lost,
the object itself says whose write it was.
"""

from __future__ import annotations

import io
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from guidestore.embeddings.errors import CorruptArtifactError, InvalidNameError, StorageError
from guidestore.embeddings.places import endpoint, local_folder, shown
from guidestore.embeddings.storage import LocalStorage, StoredFile, discard_staging, disk_errors, each, fill

if TYPE_CHECKING:
    from obstore import ObjectMeta

_NONCE = "guidestore-writer"
_PATIENCE_S = 60.0
"""An outage of a minute costs a wait, not a night's work."""
_FIRST_PATIENCE_S = 5.0
"""Before anything was ever answered, the address is more likely wrong than the server ill."""
_LONGEST_WAIT_S = 5.0
_UPLOADS = 4
"""Files sent at once, each in up to `_PARTS` parts of `_PART_BYTES`: 128 MB of memory at most."""
_PARTS = 4
_PART_BYTES = 8 << 20
_PAGE_FILES = 1000
_CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_METADATA_ENDPOINT", "AWS_SKIP_SIGNATURE"),
)


class BucketStorage:
    """A prefix of a bucket. Create-only through ``If-None-Match: *``; staging lies in a cache folder of this machine.

    Configured by the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
    AWS_ENDPOINT_URL. Safe to use from many threads; not after a fork.
    """

    lanes = 16
    """A request waits for the network, not for a core."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.url = shown(f"s3://{bucket}/{prefix}")
        if not any(os.environ.get(name) for name in _CREDENTIALS):
            # Otherwise the address of a cloud's metadata service would be asked, which is silent elsewhere.
            raise StorageError(
                f"there are no credentials for {self.url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (`aws "
                "configure export-credentials --format env` prints those of a profile), or AWS_METADATA_ENDPOINT on a "
                "machine that has a role"
            )
        self._bucket = bucket
        self._local = LocalStorage(local_folder(self.url))
        self._patience_s = float(os.environ.get("GUIDESTORE_S3_PATIENCE_S") or _PATIENCE_S)
        self._answered = False
        self._process = os.getpid()
        self._uploads = threading.Semaphore(_UPLOADS)
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            disable_bulk_delete=True,  # we delete one at a time, and not every server has the other request
            client_options={
                "allow_http": endpoint().startswith("http://"),
                "connect_timeout": "5s",
                # Silence counts, not size: a large file may take as long as it needs.
                "read_timeout": "60s",
                "timeout": "6h",
            },
            # Few: `_ask` goes on. These are for the parts of a large upload and the pages of a list.
            retry_config={
                "max_retries": 3,
                "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=2), "base": 2},
                "retry_timeout": timedelta(seconds=60),
            },
        )

    @property
    def local_folder(self) -> Path:
        return self._local.root

    def _key(self, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
            raise InvalidNameError(f"{path!r} is no path inside the store")
        return str(parts)

    def read(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        if path.startswith("staging/"):
            return self._local.read(path, start, stop)
        key = self._key(path)
        if stop is not None and stop <= start:
            return b""
        wanted = None if not start and stop is None else {"offset": start} if stop is None else (start, stop)

        def get() -> bytes:
            answer = obstore.get(self._store, key, options={"range": wanted} if wanted else None)  # pyright: ignore[reportArgumentType]
            body = io.BytesIO()  # grows in place and hands its bytes over: no second copy of a shard
            for piece in answer.stream():
                body.write(piece)
            return body.getvalue()

        try:
            return self._ask("read", path, get)
        except FileNotFoundError as error:
            raise CorruptArtifactError(
                f"{path} is missing from the store {self.url}; restore it from a copy or encode again"
            ) from error
        except StorageError as error:
            if _status(error.__cause__) == 416:  # begins at or behind the end
                return b""
            raise

    def read_into(self, path: str, start: int, buffers: Sequence[memoryview]) -> None:
        fill(buffers, self.read(path, start, start + sum(map(len, buffers))), path)

    def size(self, path: str) -> int | None:
        if path.startswith("staging/"):
            return self._local.size(path)
        key = self._key(path)
        known = self._answered
        try:
            return self._ask("read", path, lambda: obstore.head(self._store, key))["size"]
        except FileNotFoundError:
            if not known:  # the answer to HEAD has no body: a missing bucket looks like a missing file
                self._ask("read", path, lambda: next(iter(obstore.list(self._store, "tags")), None))
            return None

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        return list(each(self, self.size, paths))

    def create(self, path: str, data: bytes) -> bool:
        key = self._key(path)
        nonce = uuid.uuid4().hex
        give_up, wait_s = self._deadline(), 0.05
        while True:
            try:
                obstore.put(self._store, key, data, mode="create", attributes={_NONCE: nonce}, use_multipart=False)
                self._answered = True
                return True
            except FileNotFoundError as error:
                raise self._refused("write", path, error) from error
            except BaseError as error:
                # "Exists" says as little as a lost answer: the request may have been sent twice, and the first one
                # written. Nor need it exist: the other writer may fail yet.
                if not isinstance(error, AlreadyExistsError) and not _passing(error):
                    raise self._refused("write", path, error) from error
                writer = self._writer(path)
                if writer is not None:
                    return writer == nonce
                if time.monotonic() > give_up:
                    raise self._refused("write", path, error) from error
                wait_s = _wait(wait_s)

    def _writer(self, path: str) -> str | None:
        """The nonce of who created the object; '' where it has none, None where there is no object."""
        key = self._key(path)
        try:
            answer = self._ask("read back", path, lambda: obstore.get(self._store, key, options={"head": True}))
        except FileNotFoundError:
            return None
        return str(answer.attributes.get(_NONCE, ""))

    def note(self, path: str, data: bytes) -> None:
        key = self._key(path)
        self._ask("write", path, lambda: obstore.put(self._store, key, data, use_multipart=False))

    def move(self, path: str, target: str) -> bool:
        key, goal = self._key(path), self._key(target)
        try:
            self._ask("move", path, lambda: obstore.copy(self._store, key, goal))
        except FileNotFoundError:
            return False
        self.delete(path)
        return True

    def clock(self, folder: str) -> float:
        if folder.startswith("staging"):
            return self._local.clock(folder)
        probe = f"leases/{uuid.uuid4().hex}.probe"
        self.note(probe, b"")
        try:
            return self._ask("read", probe, lambda: obstore.head(self._store, probe))["last_modified"].timestamp()
        finally:
            self.delete(probe)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        if PurePosixPath(prefix).parts[:1] == ("staging",):
            yield from self._local.list(prefix)
            return
        key = self._key(prefix) if prefix else None
        last: str | None = None
        pages: Iterator[Sequence[ObjectMeta]] | None = None

        def next_page() -> Sequence[ObjectMeta]:
            nonlocal pages
            if pages is None:
                pages = iter(obstore.list(self._store, key, offset=last, chunk_size=_PAGE_FILES))
            try:
                return next(pages, ())
            except BaseError:
                pages = None  # asked again behind the last page that came
                raise

        while page := self._ask("list", prefix, next_page):
            for file in page:
                yield StoredFile(file["path"], file["size"], file["last_modified"].timestamp())
            last = page[-1]["path"]

    def delete(self, path: str) -> None:
        if path.startswith("staging/"):
            self._local.delete(path)
            return
        key = self._key(path)
        try:
            self._ask("delete", path, lambda: obstore.delete(self._store, key))
        except FileNotFoundError:
            return

    def staging(self) -> Path:
        return self._local.staging()

    def scratch(self, name: str) -> Path:
        return self._local.scratch(name)

    def publish(self, staged: Path, path: str) -> None:
        files = sorted(file for file in staged.rglob("*") if file.is_file()) if staged.is_dir() else [staged]
        keys = [
            self._key(f"{path}/{file.relative_to(staged).as_posix()}" if staged.is_dir() else path) for file in files
        ]

        def send(upload: tuple[Path, str]) -> None:
            # Overwrites: a name stands for the same bytes whenever it is sent, and is in no commit yet.
            file, key = upload
            with self._uploads:
                self._ask(
                    "write",
                    key,
                    lambda: obstore.put(self._store, key, file, chunk_size=_PART_BYTES, max_concurrency=_PARTS),
                )
            file.unlink()

        with disk_errors("read", staged):
            for _ in each(self, send, list(zip(files, keys, strict=True)), lanes=_UPLOADS):
                pass
        if staged.is_dir():
            discard_staging(staged)

    def keeps_versions(self) -> bool:
        try:
            return self._ask("read", "format.json", lambda: obstore.head(self._store, "format.json"))[
                "version"
            ] not in (
                None,
                "null",
            )
        except FileNotFoundError:
            return False

    def _deadline(self) -> float:
        if os.getpid() != self._process:
            raise StorageError(
                f"{self.url} was opened before this process was forked off, and its connections did not come along: "
                "start processes by spawn"
            )
        return time.monotonic() + (self._patience_s if self._answered else min(self._patience_s, _FIRST_PATIENCE_S))

    def _ask[T](self, action: str, path: str, request: Callable[[], T]) -> T:
        """The answer to a request that may be sent any number of times.

        Raises FileNotFoundError where there is no such object, StorageError where the server refuses or stays silent.
        """
        give_up, wait_s = self._deadline(), 0.05
        while True:
            try:
                answer = request()
                self._answered = True
                return answer
            except (BaseError, FileNotFoundError) as error:
                said = str(error)
                if isinstance(error, FileNotFoundError) and "NoSuchUpload" not in said:
                    if "NoSuchBucket" in said:
                        raise self._refused(action, path, error) from error
                    raise
                if not _passing(error) or time.monotonic() > give_up:
                    raise self._refused(action, path, error) from error
            wait_s = _wait(wait_s)

    def _refused(self, action: str, path: str, error: Exception) -> StorageError:
        said, status = str(error), _status(error)
        code = re.search(r"<Code>(\w+)</Code>", said)
        answer = " ".join(str(word) for word in (status, code and code[1]) if word)
        if "NoSuchBucket" in said:
            why = f"there is no bucket {self._bucket}: make it, or check the name and AWS_ENDPOINT_URL"
        elif status in (401, 403):
            why = (
                f"the server refuses it ({answer}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they "
                "may read, write, delete and list there"
            )
        elif status is not None and not _passing(error):
            why = f"the server answers {answer}: check AWS_REGION and AWS_ENDPOINT_URL"
        elif status is not None:
            why = f"the server answers {answer} again and again: run again later, what was committed is safe"
        else:
            server = endpoint() or "the server"
            why = (
                f"{server} cannot be reached, or stops answering: check the network and AWS_ENDPOINT_URL and run "
                "again, what was committed is safe"
            )
        return StorageError(f"cannot {action} {path} in {self.url}: {why}")


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that an error of obstore tells of, None where no answer came."""
    status = re.search(r"status code: (\d{3})", str(error))
    return int(status[1]) if status else None


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment: no answer, a server in trouble, too many, a conflict."""
    status = _status(error)
    return status is None or status >= 500 or status in (408, 409, 429) or "RequestTimeout<" in str(error)


def _wait(wait_s: float) -> float:
    """Waits about so long; returns how long to wait next. By chance, so that writers do not come back all at once."""
    time.sleep(random.uniform(wait_s / 2, wait_s))
    return min(2 * wait_s, _LONGEST_WAIT_S)
