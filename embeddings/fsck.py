"""Checks every byte of a store against its commits: flipped, truncated, missing and extra files, each with its case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from guidestore.embeddings import heads, leases, trash
from guidestore.embeddings.actor import actor
from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.findings import Finding
from guidestore.embeddings.fsck_files import check_file
from guidestore.embeddings.fsck_index import check_index
from guidestore.embeddings.fsck_log import check_checkpoints, check_head, check_log, check_tags
from guidestore.embeddings.log_table import NOT_ARTIFACTS
from guidestore.embeddings.opening import FORMAT_BYTES, UnknownRevisionError, check_format
from guidestore.embeddings.records import FileRef, Removal
from guidestore.embeddings.storage import Storage, StoredFile, each
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.words import count_of

_FORMAT = FORMAT_BYTES.decode().strip()
_FOLDERS = (
    *("format.json", "commits", "checkpoints", "objects", "staging", "index"),
    *(heads.FOLDER, leases.FOLDER, trash.FOLDER),
)
"""And files, of a store's root."""
_STRANGERS = 100
_FILES_AT_ONCE = 4
"""From a bucket. Whole files are in memory: a shard is 32 MB at d = 1024 float16."""


@dataclass(frozen=True, slots=True)
class FsckReport:
    findings: tuple[Finding, ...]
    files: int
    """Files whose bytes were read and matched, or not."""
    bytes: int
    commits: int
    head: str = ""
    """``N-SHA256`` of the last commit: kept elsewhere, it tells later whether the log lost its end or was forged."""

    @property
    def clean(self) -> bool:
        """Nothing but harmless orphans was found."""
        return all(finding.harmless for finding in self.findings)


def fsck(
    storage: Storage, progress: Callable[[int, int], None] = lambda done, total: None, *, head: str = ""
) -> FsckReport:
    """Reads the whole store and reports what is not as committed; changes nothing and never raises on damage.

    `progress` is called with (files done, files in all). `head`: the head of an earlier report, which must still be in
    the log.
    """
    findings: list[Finding] = []
    try:
        check_format(storage, storage.url)
    except UnknownRevisionError as error:
        return FsckReport((Finding("damaged", "format.json", "", str(error)),), 0, 0, 0)
    except GuidestoreError as error:
        problem = "missing" if storage.size("format.json") is None else "damaged"
        findings.append(Finding(problem, "format.json", "", f"{error}; it must hold {_FORMAT} and a newline"))
    # In this order: a writer has a lease before it publishes, and until its commit stands.
    stored = sorted(storage.list(""), key=lambda file: file.path)
    leased = leases.leased(storage)
    discarded = trash.contents(storage)
    commits, table = check_log(storage, stored, findings)
    findings += check_head(commits, head) if head else ()
    check_checkpoints(storage, commits, findings)
    findings += check_tags(table, commits[-1].version if commits else 0)
    findings += check_index(storage, {commit.version: commit for commit in commits})
    findings += _strangers(stored)

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
    checked = each(storage, lambda item: check_file(storage, item[1][0]), listed, lanes=_FILES_AT_ONCE)
    for done, ((path, (file, cases)), finding) in enumerate(zip(listed, checked, strict=True)):
        progress(done, len(owners))
        bytes_read += file.size
        if finding:
            named = sorted(cases - {""})
            shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
            detail = finding[1] if path not in discarded else "a sweep took it: `guidestore gc --delete` moves it back"
            findings.append(Finding(finding[0], path, shown, detail))
    progress(len(owners), len(owners))

    said = owners.keys() | {finding.path for finding in findings}
    for path in (file.path for file in stored if file.path.startswith("objects/") and file.path not in said):
        folder = next((f for f in (path.rsplit("/", n)[0] for n in range(1, 6)) if f in folders), None)
        if path in tombstoned:
            detail = "holds a withdrawn case; run `guidestore purge` again"
            findings.append(Finding("unfinished purge", path, tombstoned[path], detail))
        elif leased.is_at_work(path):
            findings.append(Finding("orphan", path, "", "a writer is about to commit it"))
        elif leased.is_explained(path):
            detail = "a writer that died, or was second, left it; `guidestore gc` sweeps it"
            findings.append(Finding("orphan", path, "", detail))
        elif folder:
            findings.append(Finding("extra", path, folders[folder], "no commit names it; delete the file"))
        else:
            detail = (
                "no commit names it, and no writer of the last day: where commits were lost, restore them; else "
                "`guidestore gc --delete` sweeps it"
            )
            findings.append(Finding("extra", path, "", detail))
    last = f"{commits[-1].version}-{commits[-1].sha256}" if commits else ""
    return FsckReport(tuple(findings), len(owners), bytes_read, len(commits), last)


def _strangers(stored: Sequence[StoredFile]) -> Iterator[Finding]:
    """Files of no store, at most some hundred of them."""
    strange = [
        file.path
        for file in stored
        if (folder := file.path.split("/")[0]) not in _FOLDERS
        or (folder == leases.FOLDER and not file.path.endswith((".json", ".probe")))
    ]
    for path in strange[:_STRANGERS]:
        yield Finding("extra", path, "", "no file of a store; keep it elsewhere")
    if len(strange) > _STRANGERS:
        path = strange[_STRANGERS]
        yield Finding("extra", path, "", f"no file of a store, as {len(strange) - _STRANGERS - 1} more are not")


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
        store.log.append(remove=gone, actor=actor(), message=f"{count_of(len(gone), 'damaged artifact')} dropped")
    return len(gone)
