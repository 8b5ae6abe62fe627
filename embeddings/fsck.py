"""Checks every byte of a store against its commits: flipped, truncated, missing and extra files, each with its case."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings import checkpoints, commit_log
from guidestore.embeddings.actor import actor
from guidestore.embeddings.commit_log import read_commit, read_record
from guidestore.embeddings.errors import CorruptArtifactError, GuidestoreError
from guidestore.embeddings.log_table import NOT_ARTIFACTS, empty_table, fold
from guidestore.embeddings.opening import FORMAT_BYTES, UnknownRevisionError, check_format
from guidestore.embeddings.records import Commit, FileRef, Removal
from guidestore.embeddings.storage import Storage, each
from guidestore.embeddings.store import EmbeddingStore

_FORMAT = FORMAT_BYTES.decode().strip()
_FILES_AT_ONCE = 4
"""From a bucket. Whole files are in memory: a shard is 32 MB at d = 1024 float16."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as committed.

    problem: damaged, missing, extra (in a committed folder, or a stray file among the log), orphan (left by a crash:
    gc sweeps it, no harm), or unfinished purge.
    """

    problem: str
    path: str
    case_id: str
    detail: str

    @property
    def harmless(self) -> bool:
        return self.problem == "orphan"

    def __str__(self) -> str:
        case = f" (case {self.case_id})" if self.case_id else ""
        return f"{self.problem}: {self.path}{case}: {self.detail}"


@dataclass(frozen=True, slots=True)
class FsckReport:
    findings: tuple[Finding, ...]
    files: int
    """Files whose bytes were read and matched, or not."""
    bytes: int
    commits: int

    @property
    def clean(self) -> bool:
        """Nothing but harmless orphans was found."""
        return all(finding.harmless for finding in self.findings)


def fsck(storage: Storage, progress: Callable[[int, int], None] = lambda done, total: None) -> FsckReport:
    """Reads the whole store and reports what is not as committed; changes nothing and never raises on damage.

    `progress` is called with (files done, files in all).
    """
    findings: list[Finding] = []
    try:
        check_format(storage, storage.url)
    except UnknownRevisionError as error:
        return FsckReport((Finding("damaged", "format.json", "", str(error)),), 0, 0, 0)
    except GuidestoreError as error:
        problem = "missing" if storage.size("format.json") is None else "damaged"
        findings.append(Finding(problem, "format.json", "", f"{error}; it must hold {_FORMAT} and a newline"))
    commits = _check_log(storage, findings)
    table = fold(empty_table(), commits)
    _check_checkpoints(storage, commits, findings)
    _check_names(storage, table, commits[-1].version if commits else 0, findings)

    owners: dict[str, tuple[FileRef, set[str]]] = {}
    folders: dict[str, str] = {}
    tombstoned: dict[str, str] = {}
    for commit in commits:
        if commit.add_file:
            owners[commit.add_file.path] = (commit.add_file, {""})
    for row in table.to_pylist():
        if row["kind"] == "tombstone":
            tombstoned |= {file["path"]: row["case_id"] for file in row["files"]}
        elif row["kind"] not in NOT_ARTIFACTS:
            if row["kind"] == "bag":
                folders[row["path"]] = row["case_id"]
            for file in row["files"]:
                owners.setdefault(file["path"], (FileRef(**file), set()))[1].add(row["case_id"])

    bytes_read = 0
    listed = sorted(owners.items())
    checked = each(storage, lambda item: _check_file(storage, item[1][0]), listed, lanes=_FILES_AT_ONCE)
    for done, ((path, (file, cases)), finding) in enumerate(zip(listed, checked, strict=True)):
        progress(done, len(owners))
        bytes_read += file.size
        if finding:
            named = sorted(cases - {""})
            shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
            findings.append(Finding(finding[0], path, shown, finding[1]))
    progress(len(owners), len(owners))

    said = owners.keys() | {finding.path for finding in findings}
    for stored in storage.list("objects"):
        if stored.path in said:
            continue
        folder = next((f for f in (stored.path.rsplit("/", n)[0] for n in range(1, 6)) if f in folders), None)
        if stored.path in tombstoned:
            findings.append(
                Finding(
                    "unfinished purge",
                    stored.path,
                    tombstoned[stored.path],
                    "holds a withdrawn case; run `guidestore purge` again",
                )
            )
        elif folder:
            findings.append(Finding("extra", stored.path, folders[folder], "no commit names it; delete the file"))
        else:
            findings.append(Finding("orphan", stored.path, "", "no commit names it; `guidestore gc` sweeps it"))
    return FsckReport(tuple(findings), len(owners), bytes_read, len(commits))


def _check_file(storage: Storage, file: FileRef) -> tuple[str, str] | None:
    size = storage.size(file.path)
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


def _check_log(storage: Storage, findings: list[Finding]) -> list[Commit]:
    """The readable commits up to the first gap or break; findings for all others."""
    commits: list[Commit] = []
    whole = True
    names = sorted(file.path for file in storage.list("commits"))
    expected = [path for path in names if re.fullmatch(r"commits/\d{12}\.json", path)]
    findings += [Finding("extra", path, "", "no file of the log; delete it") for path in names if path not in expected]
    last = int(expected[-1].removeprefix("commits/")[:12]) if expected else 0

    def read(version: int) -> Commit | CorruptArtifactError:
        try:
            return read_commit(storage, version)
        except CorruptArtifactError as error:
            return error

    for version, commit in enumerate(each(storage, read, range(1, last + 1)), 1):
        path = commit_log.path_of(version)
        if isinstance(commit, CorruptArtifactError):
            findings.append(_unreadable(storage, version, str(commit)))
            whole = False
            continue
        if whole and commits and commit.parent_sha256 != commits[-1].sha256:
            findings.append(Finding("damaged", path, "", "does not follow the commit before it: the log was edited"))
            whole = False
        if whole or not commits or commit.version > commits[-1].version:
            commits.append(commit)
    return commits


def _unreadable(storage: Storage, version: int, detail: str) -> Finding:
    """What is wrong with a commit that cannot be read: with its JSON, or with the table of its entries."""
    path = commit_log.path_of(version)
    try:
        file = read_record(storage, version).add_file
    except CorruptArtifactError:
        file = None
    path = file.path if file else path
    return Finding("missing" if storage.size(path) is None else "damaged", path, "", detail)


def _check_checkpoints(storage: Storage, commits: list[Commit], findings: list[Finding]) -> None:
    table, folded = empty_table(), 0
    files = sorted(file.path for file in storage.list("checkpoints"))
    findings += [
        Finding("extra", path, "", "no file of a checkpoint; delete it")
        for path in files
        if not (checkpoints.version_of(path) or checkpoints.is_segment(path))
    ]
    bad: dict[str, Finding] = {}
    for path in filter(checkpoints.version_of, files):
        try:
            manifest = checkpoints.read_manifest(storage, path)
            if manifest is None:
                continue  # another guidestore's, by rules that we do not know
            saved = checkpoints.read(storage, manifest)
        except GuidestoreError as error:
            damaged = _damaged_segment(storage, path)
            where = damaged.path if damaged else path
            bad[where] = damaged or Finding("damaged", path, "", str(error))
            continue
        version = manifest.version
        if len(commits) < version or commits[version - 1].version != version:
            continue  # the commits under it are damaged; that was said
        table, folded = fold(table, commits[folded:version]), version
        if manifest.commit_sha256 != commits[version - 1].sha256 or not saved.equals(table):
            bad[path] = Finding("damaged", path, "", "is not what the commits fold to; delete it")
    findings += bad.values()
    findings += [
        Finding("orphan", file.path, "", "no checkpoint names it; `guidestore gc` sweeps it")
        for file in checkpoints.unnamed_segments(storage)
        if file.path not in bad
    ]


def _damaged_segment(storage: Storage, path: str) -> Finding | None:
    """What is wrong with the first segment of a manifest that is not as it was written; None: the manifest itself."""
    try:
        manifest = checkpoints.read_manifest(storage, path)
    except GuidestoreError:
        return None
    for segment in manifest.segments if manifest else ():
        if problem := _check_file(storage, segment.file):
            detail = f"is not as {path} says; delete both, the commits have all that they say"
            return Finding(problem[0], segment.file.path, "", detail)
    return None


def _check_names(storage: Storage, table: pa.Table, head: int, findings: list[Finding]) -> None:
    tags = table.filter(pc.field("kind") == "tag").to_pylist()
    for row in tags:
        snapshot = json.loads(row["meta"])["snapshot"]
        if not 0 <= snapshot < row["added_at"]:
            path = commit_log.path_of(row["added_at"])
            findings.append(
                Finding("damaged", path, "", f"its tag {row['artifact']} names snapshot {snapshot} of {head}")
            )


def drop_damaged(store: EmbeddingStore, report: FsckReport) -> int:
    """Takes artifacts with damaged or missing files, all but rows, out of the newest snapshot; returns how many.

    What is dropped can be made again by the command that made it. Earlier snapshots still name the damaged files, and
    rows (labels, splits …) are never dropped: they cannot be made again, only restored from a copy.
    """
    broken = {finding.path for finding in report.findings if finding.problem in ("damaged", "missing")}
    kinds = ("bag", "codes", "weights", "run", "index")
    entries = [entry for kind in kinds for entry in store.snapshot().entries(kind=kind)]
    gone = [
        Removal(entry.artifact, entry.path) for entry in entries if any(file.path in broken for file in entry.files)
    ]
    if gone:
        store.log.append(remove=gone, actor=actor(), message=f"{len(gone)} damaged artifacts dropped")
    return len(gone)
