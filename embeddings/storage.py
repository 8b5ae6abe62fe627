"""The one interface between the store and a disk or bucket. Local disk here; a bucket in bucket.py.

Paths are relative to the store's root, with forward slashes.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

from guidestore.embeddings.errors import CorruptArtifactError, InvalidNameError, StorageError


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A listed file: relative path, size in bytes, time of last change in seconds since 1970."""

    path: str
    size: int
    modified_at: float


class Storage(Protocol):
    """What the store asks of a disk or bucket.

    Writes are durable when the call returns. `create` is the only arbiter between concurrent writers: exactly one of
    them gets True. Missing files raise CorruptArtifactError (the caller asked for what a commit names); a refusing
    disk (full, read-only, gone) raises StorageError and leaves no file under the asked name.

    A path is relative to the place, its parts apart by /; a prefix is that of a folder; data are the bytes of a file.
    """

    @property
    def url(self) -> str:
        """The place as a user writes it."""
        ...

    @property
    def local_folder(self) -> Path:
        """A folder of this machine for what is disposable: the index, and staging."""
        ...

    @property
    def lanes(self) -> int:
        """How many requests are worth having under way at once: 1 on a disk, more over a network."""
        ...

    def read(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes of a file from `start` up to `stop`, None: to its end."""
        ...

    def read_into(self, path: str, start: int, buffers: Sequence[memoryview]) -> None:
        """Fills the buffers (of bytes), one after the other, from `start` on."""
        ...

    def size(self, path: str) -> int | None:
        """Bytes of the file, None if there is none."""
        ...

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        """`size` of each of the paths, asked at once where that is quicker."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Writes a new file, whole or not at all; False if the name is taken."""
        ...

    def note(self, path: str, data: bytes) -> None:
        """Writes a small file, whole or not at all, in place of one of that name; a power cut may take it."""
        ...

    def move(self, path: str, target: str) -> bool:
        """Gives the file at path the name `target`, and makes it as new; False if there is none."""
        ...

    def clock(self, folder: str) -> float:
        """The time that a file made in `folder` now gets, in seconds since 1970: ages are told by it alone."""
        ...

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All files below a folder ('': the whole store), in no order."""
        ...

    def delete(self, path: str) -> None:
        """Removes a file; silent if it is gone already."""
        ...

    def staging(self) -> Path:
        """A new local folder to write data into, swept by gc if it is left behind."""
        ...

    def scratch(self, name: str) -> Path:
        """A local folder of this name for what a crash must not lose; swept by gc once nobody has written for a day."""
        ...

    def publish(self, staged: Path, path: str) -> None:
        """Moves a staged file or folder to its name, durably."""
        ...

    def keeps_versions(self) -> bool:
        """Whether what is deleted can be had back from the place itself."""
        ...


def each[T, R](
    storage: Storage, function: Callable[[T], R], items: Sequence[T], *, lanes: int | None = None
) -> Iterator[R]:
    """The function of each item, in order; as many at once as `storage` (or `lanes`) has lanes."""
    lanes = min(lanes or storage.lanes, storage.lanes, len(items))
    if lanes < 2:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # not needed by `guidestore sql` on a disk, and slow to load

    with ThreadPoolExecutor(lanes) as pool:
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(cancel_futures=True)  # after an error the others need not be asked


def fill(buffers: Sequence[memoryview], data: bytes, path: str) -> None:
    """Copies `data` into the buffers. Raises CorruptArtifactError where it is not as long as they are."""
    if len(data) != sum(map(len, buffers)):
        raise CorruptArtifactError(f"{path} is shorter than it was written; run `guidestore fsck`")
    start = 0
    for buffer in buffers:
        buffer[:] = data[start : start + len(buffer)]
        start += len(buffer)


@contextmanager
def disk_errors(action: str, path: object) -> Iterator[None]:
    """Turns an OSError of the block into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "the disk is full: free space and run again, what was committed is safe",
            errno.EDQUOT: "the disk quota is used up: free space and run again, what was committed is safe",
            errno.EROFS: "the disk is read-only: choose another store folder",
            errno.EACCES: "permission denied: check the owner of the store folder",
        }.get(error.errno or 0, f"{error.strerror or error}: check the disk and run again")
        raise StorageError(f"cannot {action} {path}: {advice}") from error


def _new_name() -> str:
    from ulid import ULID  # 20 ms of the second in which `guidestore sql` must answer

    return str(ULID())


def _unswept[R](write: Callable[[], R]) -> R:
    """What `write` returns, made again where a sweep took its temporary file, or an empty folder."""
    for _ in range(20):
        with suppress(FileNotFoundError):
            return write()
    return write()


def _unblocked(path: str, flags: int) -> int:
    """Opens a file for reading; a pipe without a writer would keep us waiting."""
    return os.open(path, flags | os.O_NONBLOCK)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class LocalStorage:
    """A folder on a local disk. Create-only through link(2), which fails if the name exists."""

    lanes = 1

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    @property
    def url(self) -> str:
        return str(self.root)

    @property
    def local_folder(self) -> Path:
        return self.root

    def _at(self, path: str) -> Path:
        return Path(self._name(path))

    def _name(self, path: str) -> str:
        """Without a Path, whose making takes a tenth of reading a bag."""
        if path.startswith("/") or ".." in path.split("/") or "\\" in path or "\0" in path:
            raise InvalidNameError(f"{path!r} is no path inside the store")
        return f"{self.root}/{path}" if path else str(self.root)

    def read(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        with self._reading(path) as file:
            file.seek(start)
            return file.read() if stop is None else file.read(stop - start)

    def read_into(self, path: str, start: int, buffers: Sequence[memoryview]) -> None:
        wanted = sum(map(len, buffers))
        with self._reading(path) as file:
            read = os.preadv(file.fileno(), buffers, start)
        if read < wanted:  # the file is shorter, or the disk gave less at once than it has
            fill(buffers, self.read(path, start, start + wanted), path)

    @contextmanager
    def _reading(self, path: str) -> Iterator[FileIO]:
        try:
            with disk_errors("read", path), open(self._name(path), "rb", buffering=0, opener=_unblocked) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise CorruptArtifactError(f"{path} is a pipe or a device, not a file; restore it from a copy")
                yield file
        except StorageError as error:
            number = getattr(error.__cause__, "errno", None)
            if number in _NOTHING_THERE:
                raise CorruptArtifactError(
                    f"{path} is missing from the store {self.root}; restore it from a copy or encode again"
                ) from error
            if number in (errno.EISDIR, errno.EIO):
                why = (
                    "is a folder, not a file" if number == errno.EISDIR else "lies on a part of the disk that is broken"
                )
                raise CorruptArtifactError(f"{path} {why}; restore it from a copy") from error
            raise

    def size(self, path: str) -> int | None:
        with disk_errors("read", path):
            try:
                return os.stat(self._name(path)).st_size  # noqa: PTH116
            except OSError as error:
                if error.errno in _NOTHING_THERE:
                    return None
                raise

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        return [self.size(path) for path in paths]

    def create(self, path: str, data: bytes) -> bool:
        target = self._at(path)
        with disk_errors("write", path):
            return _unswept(lambda: self._create(target, data))

    def _create(self, target: Path, data: bytes) -> bool:
        with self._temporary() as temporary:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                if target.exists():  # another writer won meanwhile: spare the disk a sync
                    return False
                os.fsync(file.fileno())
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            _fsync(target.parent)
            return True

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A name for a new file; what has it in the end goes."""
        temporary = self.root / "staging" / f"{_new_name()}.tmp"
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def note(self, path: str, data: bytes) -> None:
        target = self._at(path)
        with disk_errors("write", path):
            _unswept(lambda: self._note(target, data))

    def _note(self, target: Path, data: bytes) -> None:
        if not data:  # there at once, and whole
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            return
        with self._temporary() as temporary:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(target)

    def move(self, path: str, target: str) -> bool:
        source, goal = self._at(path), self._at(target)
        with disk_errors("move", path):
            try:
                os.utime(source)  # before, so that no moment is without it
                goal.parent.mkdir(parents=True, exist_ok=True)
                source.rename(goal)
            except FileNotFoundError:
                return False
            _fsync(goal.parent)
            self._prune(path)
            return True

    def clock(self, folder: str) -> float:
        with disk_errors("write", folder):
            return _unswept(self._clock)

    def _clock(self) -> float:
        with self._temporary() as probe:
            probe.touch()
            return probe.stat().st_mtime

    def list(self, prefix: str) -> Iterator[StoredFile]:
        below = len(f"{self.root}{os.sep}")
        for folder, _, names in os.walk(self._at(prefix)):
            for name in names:
                file = os.path.join(folder, name)  # noqa: PTH118 - a Path per file makes listing 10 times slower
                try:
                    status = os.stat(file)  # noqa: PTH116
                except OSError:
                    continue  # swept or moved while we listed
                yield StoredFile(file[below:].replace(os.sep, "/"), status.st_size, status.st_mtime)

    def delete(self, path: str) -> None:
        target = self._at(path)
        with disk_errors("delete", path):
            target.unlink(missing_ok=True)
            self._prune(path)

    def _prune(self, path: str) -> None:
        """Folders of a bag, or of a writer, go with their last file; `objects`, its kinds and `staging` stay."""
        kept = 1 if path.startswith(("staging/", "trash/")) else 2
        for parent in self._at(path).parents:
            if len(parent.relative_to(self.root).parts) <= kept:
                break
            try:
                parent.rmdir()
            except OSError:
                break

    def staging(self) -> Path:
        folder = self.root / "staging" / _new_name()
        with disk_errors("create", folder):
            folder.mkdir(parents=True)
        return folder

    def scratch(self, name: str) -> Path:
        folder = self.root / "staging" / f"scratch-{name}"
        with disk_errors("create", folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, staged: Path, path: str) -> None:
        target = self._at(path)
        with disk_errors("write", path):
            if staged.is_dir():
                for folder, _, names in os.walk(staged, topdown=False):
                    for name in names:
                        _fsync(Path(folder) / name)
                    _fsync(Path(folder))
            else:
                _fsync(staged)
            created = [parent for parent in target.parents if not parent.exists()]
            while True:
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    staged.rename(target)
                    break
                except FileNotFoundError:  # a sweep removed the empty parent between the two calls
                    if target.parent.exists():
                        raise
            _fsync(target.parent)
            for parent in created:
                _fsync(parent.parent)

    def keeps_versions(self) -> bool:
        return False


def discard_staging(folder: Path) -> None:
    """Removes what an aborted write staged."""
    shutil.rmtree(folder, ignore_errors=True)
