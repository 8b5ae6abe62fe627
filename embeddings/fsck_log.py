"""Whether the log is whole: every commit, what tells of commits, and the checkpoints."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings import checkpoints
from guidestore.embeddings.commit_log import path_of, read_entries, read_record, version_of
from guidestore.embeddings.errors import CorruptArtifactError, InvalidNameError
from guidestore.embeddings.findings import Finding
from guidestore.embeddings.fsck_files import check_file
from guidestore.embeddings.fsck_index import current_of
from guidestore.embeddings.heads import Marker
from guidestore.embeddings.log_table import ReadEntries, empty_table, fold
from guidestore.embeddings.records import Commit
from guidestore.embeddings.storage import Storage, StoredFile, each

DAMAGE = (
    *(CorruptArtifactError, InvalidNameError, pa.ArrowException),
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)
"""What reading damaged or forged files raises; a disk or bucket that refuses is something else."""
_DAY_S = 86_400.0
_NAMED_AT_MOST = 1000


def check_log(storage: Storage, files: Sequence[StoredFile], findings: list[Finding]) -> tuple[list[Commit], pa.Table]:
    """The commits that can be read, and what they fold to; findings for all others.

    `files`: all files of the store, listed before.
    """
    names = {file.path for file in storage.list("commits")}
    there = {version for version in map(version_of, names) if version}
    findings += [
        Finding("extra", path, "", "no file of the log; delete it") for path in sorted(names) if not version_of(path)
    ]
    witnesses = dict(_witnesses(storage, files))
    for version in (max(there, default=0) + 1, *witnesses.values()):
        if storage.size(path_of(version)) is not None:  # made since, or a folder in its place
            there.add(version)
    findings += _gone(there, witnesses)
    commits = _read(storage, sorted(there), findings)
    entries = functools.partial(read_entries, storage)
    try:
        table = fold(empty_table(), commits, entries)
    except DAMAGE:
        commits = [commit for commit in commits if _folds(commit, entries, findings)]
        table = fold(empty_table(), commits, entries)
    findings += _markers(files, {commit.version: commit for commit in commits})
    return commits, table


def _witnesses(storage: Storage, files: Iterable[StoredFile]) -> Iterable[tuple[str, int]]:
    """What tells of commits, and of which, the newest last."""
    told = [(marker.path, marker.version) for marker in map(Marker.of, (file.path for file in files)) if marker]
    for file in files:
        if checkpoints.version_of(file.path):
            try:
                manifest = checkpoints.read_manifest(storage, file.path)
            except DAMAGE:
                continue
            told += [(file.path, manifest.version)] if manifest else []
    current = current_of(storage)
    told += [("index/CURRENT", current.version)] if current and current.version else []
    return sorted(told, key=lambda item: item[1])


def _gone(there: set[int], witnesses: dict[str, int]) -> Iterable[Finding]:
    """Commits that are missing: between others, and at the end."""
    newest = max(there, default=0)
    last = max([newest, *witnesses.values()])
    witness = next((path for path, version in witnesses.items() if version == last), "")
    gone = (version for version in range(1, last + 1) if version not in there)
    for count, version in enumerate(gone):
        detail = "is missing though later commits exist; restore it from a copy"
        if version > newest:
            detail = f"the log has lost its end: {witness} tells of commit {last}; restore commits/ from a copy"
        if count == _NAMED_AT_MOST:
            yield Finding("missing", path_of(version), "", f"{detail} (it is not the last one that is missing)")
            return
        yield Finding("missing", path_of(version), "", detail)


def _read(storage: Storage, versions: Sequence[int], findings: list[Finding]) -> list[Commit]:
    commits: list[Commit] = []

    def read(version: int) -> Commit | BaseException:
        try:
            commit = read_record(storage, version)
            if commit.add_file:
                read_entries(storage, commit.add_file)
            return commit
        except DAMAGE as error:
            return error

    follows = True
    for version, commit in zip(versions, each(storage, read, versions), strict=True):
        if not isinstance(commit, Commit):
            findings.append(_unreadable(storage, version, str(commit)))
            continue
        before = commits[-1] if commits else None
        if follows and before and before.version == version - 1 and commit.parent_sha256 != before.sha256:
            detail = "does not follow the commit before it: the log was edited"
            findings.append(Finding("damaged", path_of(version), "", detail))
            follows = False
        commits.append(commit)
    return commits


def _folds(commit: Commit, entries: ReadEntries, findings: list[Finding]) -> bool:
    try:
        fold(empty_table(), [commit], entries)
    except DAMAGE as error:
        detail = f"is sealed but no commit ({type(error).__name__}): another program wrote it; restore it from a copy"
        findings.append(Finding("damaged", path_of(commit.version), "", detail))
        return False
    return True


def _unreadable(storage: Storage, version: int, detail: str) -> Finding:
    """What is wrong with a commit that cannot be read: with its JSON, or with the table of its entries."""
    path = path_of(version)
    try:
        file = read_record(storage, version).add_file
        path = file.path if file else path
        return Finding("missing" if storage.size(path) is None else "damaged", path, "", detail)
    except DAMAGE:
        return Finding("damaged", path_of(version), "", detail)


def _markers(files: Sequence[StoredFile], commits: dict[int, Commit]) -> Iterable[Finding]:
    sizes = {file.path: file.size for file in files if file.path.startswith("heads/")}
    markers = [marker for marker in map(Marker.of, sizes) if marker]
    for path, size in sizes.items():
        if not Marker.of(path) and not checkpoints.is_receipt(path):
            yield Finding("extra", path, "", "no head marker; delete it")
        elif size:
            yield Finding("damaged", path, "", "a marker is an empty file: its name is all that it says; empty it")
    for marker in markers:
        commit = commits.get(marker.version)
        if commit and commit.sha256 != marker.sha256:
            detail = f"is not the commit that {marker.path} tells of: the log was edited; restore it from a copy"
            yield Finding("damaged", path_of(marker.version), "", detail)
    if commits and not markers:
        head = commits[max(commits)]
        path = Marker(head.version, head.sha256).path
        detail = "no head marker is left, so nothing tells whether the log has lost its end; the next commit makes one"
        yield Finding("missing", path, "", detail)


def check_head(commits: Sequence[Commit], head: str) -> Iterable[Finding]:
    """Whether the commit of `head` (``N-SHA256``, as it was kept elsewhere) is the one in the log."""
    version, _, digest = head.partition("-")
    found = next((commit for commit in commits if str(commit.version) == version), None)
    if found is None or found.sha256 != digest:
        path = path_of(int(version)) if version.isdecimal() else "commits"
        yield Finding(
            "damaged" if found else "missing", path, "", f"the head that was kept is {head}; restore commits/"
        )


def check_tags(table: pa.Table, head: int) -> Iterable[Finding]:
    for row in table.filter(pc.field("kind") == "tag").to_pylist():
        snapshot = json.loads(row["meta"])["snapshot"]
        if not 0 <= snapshot < row["added_at"]:
            path = path_of(row["added_at"])
            yield Finding("damaged", path, "", f"its tag {row['artifact']} names snapshot {snapshot} of {head}")


def check_checkpoints(storage: Storage, commits: Sequence[Commit], findings: list[Finding]) -> None:
    table, folded = empty_table(), 0
    files = sorted(file.path for file in storage.list("checkpoints"))
    findings += [
        Finding("extra", path, "", "no file of a checkpoint; delete it")
        for path in files
        if not (checkpoints.version_of(path) or checkpoints.is_segment(path))
    ]
    findings += [
        Finding("missing", path, "", "somebody deleted this checkpoint; the commits have all that it says")
        for path in checkpoints.receipts(storage)
        if path not in files and storage.size(checkpoints.receipt_of(path)) is not None
    ]
    bad: dict[str, Finding] = {}
    for path in filter(checkpoints.version_of, files):
        try:
            manifest = checkpoints.read_manifest(storage, path)
            if manifest is None:
                continue  # another guidestore's, by rules that we do not know
            saved = checkpoints.read(storage, manifest)
        except DAMAGE as error:
            if storage.size(path) is None:
                continue  # a newer one has taken its place meanwhile
            damaged = _damaged_segment(storage, path)
            where = damaged.path if damaged else path
            bad[where] = damaged or Finding("damaged", path, "", str(error))
            continue
        version = manifest.version
        if len(commits) < version or commits[version - 1].version != version:
            continue  # the commits under it are damaged; that was said
        table = fold(table, commits[folded:version], functools.partial(read_entries, storage))
        folded = version
        if manifest.commit_sha256 != commits[version - 1].sha256 or not saved.equals(table):
            bad[path] = Finding("damaged", path, "", "is not what the commits fold to; delete it")
    findings += bad.values()
    unnamed = [file for file in checkpoints.unnamed_segments(storage) if file.path not in bad]
    now = storage.clock("checkpoints") if unnamed else 0.0
    for file in unnamed:
        # A writer names it next, unless it was killed.
        problem = "orphan" if now - file.modified_at < _DAY_S else "extra"
        findings.append(Finding(problem, file.path, "", "no checkpoint names it; `guidestore gc` sweeps it"))


def _damaged_segment(storage: Storage, path: str) -> Finding | None:
    """What is wrong with the first segment of a manifest that is not as it was written; None: the manifest itself."""
    try:
        manifest = checkpoints.read_manifest(storage, path)
    except DAMAGE:
        return None
    for segment in manifest.segments if manifest else ():
        if problem := check_file(storage, segment.file):
            detail = f"is not as {path} says; delete both, the commits have all that they say"
            return Finding(problem[0], segment.file.path, "", detail)
    return None
