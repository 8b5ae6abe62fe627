"""The deployment `verify`: every byte of the store against its commits."""

from __future__ import annotations

from prefect import flow, get_run_logger

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.fsck import FsckReport, fsck
from guidestore.embeddings.opening import storage_at
from guidestore.embeddings.words import count_of
from guidestore.flows.engine.running import HOUR, one_sentence, shown, step
from guidestore.flows.serving.artifacts import show_table
from guidestore.flows.serving.forms import store_place


@flow(name="verify", timeout_seconds=24 * HOUR, persist_result=False)
@one_sentence
def verify() -> None:
    """Reads every byte of the store and names what is not as it was committed. Changes nothing; fails on damage."""
    report = read_all()
    rows = [{"problem": f.problem, "path": f.path, "case": f.case_id, "detail": f.detail} for f in report.findings]
    read = f"{count_of(report.commits, 'commit')}, {count_of(report.files, 'file')}, {report.bytes / 1e6:.1f} MB read"
    show_table("verify-findings", rows, f"{read}: {'clean' if report.clean else 'damaged'}.")
    if not report.clean:
        problems = [finding for finding in report.findings if not finding.harmless]
        raise CorruptArtifactError(f"{len(problems)} problems, the first: {problems[0]}; {read}")


@step("read all")
def read_all() -> FsckReport:
    """Reads and checks everything."""
    progress = shown()
    report = fsck(storage_at(store_place()), lambda done, total: progress("checking", done, total))
    get_run_logger().info("%d files read: %s", report.files, "clean" if report.clean else "damaged")
    return report
