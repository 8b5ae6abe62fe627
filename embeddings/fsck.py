"""Checks every byte of a store against its commits: flipped, truncated, missing and extra files, each with its case."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from guidestore.embeddings import checkpoints, commit_log
from guidestore.embeddings.commit_log import NOT_ARTIFACTS, read_commit
from guidestore.embeddings.errors import CorruptArtifactError, GuidestoreError
from guidestore.embeddings.log_table import empty_table, fold
from guidestore.embeddings.records import Commit, FileRef, Removal, open_sealed_json
from guidestore.embeddings.storage import Storage, each
from guidestore.embeddings.store import EmbeddingStore, actor

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
    commits = _check_log(storage, findings)
    table = fold(empty_table(), commits)
    _check_checkpoints(storage, commits, findings)
    _check_names(storage, commits[-1].version if commits else 0, findings)

    owners: dict[str, tuple[FileRef, set[str]]] = {}
    folders: dict[str, str] = {}
    tombstoned: dict[str, str] = {}
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

    for stored in storage.list("objects"):
        if stored.path in owners:
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
            findings.append(Finding("missing" if storage.size(path) is None else "damaged", path, "", str(commit)))
            whole = False
            continue
        if whole and commits and commit.parent_sha256 != commits[-1].sha256:
            findings.append(Finding("damaged", path, "", "does not follow the commit before it: the log was edited"))
            whole = False
        if whole or not commits or commit.version > commits[-1].version:
            commits.append(commit)
    return commits


def _check_checkpoints(storage: Storage, commits: list[Commit], findings: list[Finding]) -> None:
    table, folded = empty_table(), 0
    for stored in sorted(storage.list("checkpoints"), key=lambda file: file.path):
        match = re.fullmatch(r"checkpoints/(\d{12})\.parquet", stored.path)
        if not match:
            findings.append(Finding("extra", stored.path, "", "no checkpoint; delete it"))
            continue
        version = int(match[1])
        try:
            saved = checkpoints.read(storage, version)
        except GuidestoreError as error:
            findings.append(Finding("damaged", stored.path, "", str(error)))
            continue
        if len(commits) < version or commits[version - 1].version != version:
            continue  # the commits under it are damaged; that was said
        table, folded = fold(table, commits[folded:version]), version
        if not saved.equals(table):
            findings.append(Finding("damaged", stored.path, "", "is not what the commits fold to; delete it"))


def _check_names(storage: Storage, head: int, findings: list[Finding]) -> None:
    for stored in storage.list("tags"):
        try:
            body = open_sealed_json(storage.read(stored.path), stored.path)
        except GuidestoreError as error:
            findings.append(Finding("damaged", stored.path, "", str(error)))
            continue
        if stored.path != f"tags/{body['name']}.json" or not 0 <= body["snapshot"] <= head:
            findings.append(Finding("damaged", stored.path, "", f"names snapshot {body['snapshot']} of {head}"))
    if storage.size("format.json") is None:
        findings.append(Finding("missing", "format.json", "", 'write {"format": 1} and a newline into it'))
    elif storage.read("format.json") != b'{"format": 1}\n':
        findings.append(Finding("damaged", "format.json", "", 'it must hold {"format": 1} and a newline'))


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
