"""Several machines that write one bucket at once, with a network and a server that fail: nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guidestore.embeddings.commit_log import read_record
from guidestore.embeddings.errors import StorageError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.store import EmbeddingStore
from tests.commandline import guidestore
from tests.embeddings.making import bag_key, commit_bag, commit_codes, make_bag, make_codes, mri_key, same_bag
from tests.faults.s3_proxy import FaultyProxy
from tests.s3_server import environment

ROOT = Path(__file__).parents[2]


def machine(url: str, endpoint: str, cache: Path, name: str, kind: str, count: int) -> subprocess.Popen[str]:
    """A writer with a cache folder of its own."""
    command = [sys.executable, "-m", "tests.faults.writer", url, name, kind, str(count)]
    env = {**os.environ, **environment(endpoint, cache / name)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)


def reports(process: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """(version, case) of every commit that the writer saw done."""
    out, _ = process.communicate(timeout=120)
    return [(int(version), case) for version, case in (line.split() for line in out.splitlines())]


def commits_of(url: str) -> dict[int, str]:
    """Version -> case of each commit; the log is one line from 1 to its head."""
    store = EmbeddingStore.open(url)
    commits = [read_record(store.storage, version) for version in range(1, store.log.head + 1)]
    assert [commit.parent_sha256 for commit in commits] == ["", *(commit.sha256 for commit in commits)][:-1]
    return {commit.version: commit.message.split()[0] for commit in commits}


@pytest.mark.parametrize(("machines", "commits"), [(3, 8), pytest.param(4, 25, marks=pytest.mark.slow)])
def test_machines_commit_at_once(bucket, s3_server, tmp_path, machines, commits):
    EmbeddingStore.create(bucket)
    writers = [machine(bucket, s3_server, tmp_path, f"m{n}", "rows", commits) for n in range(machines)]
    reported = [report for writer in writers for report in reports(writer)]
    assert [writer.returncode for writer in writers] == [0] * machines
    assert sorted(version for version, _ in reported) == list(range(1, machines * commits + 1))
    assert commits_of(bucket) == dict(reported)
    store = EmbeddingStore.open(bucket)
    expected = {f"m{n}-{i}" for n in range(machines) for i in range(commits)}
    assert set(store.snapshot().rows("cases")["case_id"].to_pylist()) == expected
    assert fsck(store.storage).findings == ()


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))])
def test_failing_requests_lose_and_double_nothing(bucket, s3_server, tmp_path, monkeypatch, seed):
    EmbeddingStore.create(bucket)
    with FaultyProxy(s3_server, seed=seed, rate=0.3) as proxy:
        writers = [machine(bucket, proxy.endpoint, tmp_path, f"m{n}", "all", 6) for n in range(2)]
        reported = [report for writer in writers for report in reports(writer)]
        assert [writer.returncode for writer in writers] == [0] * 2
        for fault in ("refuse", "cut before", "cut after", "fail after", "cut body"):
            assert proxy.counts[fault] > 3
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        snapshot = EmbeddingStore.open(bucket).snapshot()
        for _, case in reported:
            assert same_bag(snapshot.bags(bag_key(), case)[0], make_bag(1500, seed=int(case.rpartition("-")[2])))
        codes = snapshot.codes(mri_key())
        assert {case for _, case in reported} <= set(codes.case_ids)
        assert guidestore("fsck", "--store", bucket).returncode == 0
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert sorted(version for version, _ in reported) == list(range(1, 13))
    assert commits_of(bucket) == dict(reported)
    store = EmbeddingStore.open(bucket)
    assert {finding.problem for finding in fsck(store.storage).findings} <= {"orphan"}
    assert store.snapshot().codes(mri_key()).codes_nd.tobytes() == codes.codes_nd.tobytes()


def test_a_commit_whose_answer_is_lost_counts_once(bucket, s3_server, monkeypatch):
    EmbeddingStore.create(bucket)
    with FaultyProxy(s3_server, faults=("cut after", "fail after")) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        log = EmbeddingStore.open(bucket).log

        def lose_answers_of_commits(method: str, path: str) -> None:
            proxy.rate = float(method == "PUT" and "/commits/" in path)

        proxy.watch = lose_answers_of_commits
        store = EmbeddingStore.open(bucket)
        for n in range(6):
            commit_codes(store, make_codes([f"C{n}"], mri_key(), seed=n))
        assert proxy.counts["cut after"] + proxy.counts["fail after"] >= 6
        assert store.log.head == log.refresh() == 6
        assert fsck(store.storage).findings == ()


def test_a_server_that_goes_away_leaves_the_store_as_it_was(bucket, s3_server, tmp_path, monkeypatch):
    commit_codes(EmbeddingStore.create(bucket), make_codes(["C1"], mri_key(), seed=1))
    with FaultyProxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setenv("GUIDESTORE_S3_PATIENCE_S", "0.5")
        store = EmbeddingStore.open(bucket)
        proxy.watch = lambda method, path: proxy.gone.set() if method == "PUT" and "/features/" in path else None
        with pytest.raises(StorageError, match=r"cannot write .* cannot be reached, or stops answering") as caught:
            commit_bag(store, make_bag(1500))
        assert "\n" not in str(caught.value)
        for command in (("fsck",), ("tag", "now"), ("index",)):
            done = guidestore(*command, "--store", bucket)
            assert done.returncode == StorageError.exit_code, done.stderr
            assert "Traceback" not in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1
        proxy.gone.clear()
        proxy.watch = lambda method, path: None
        assert EmbeddingStore.open(bucket).log.head == 1
        assert {finding.problem for finding in fsck(store.storage).findings} <= {"orphan"}
        commit_bag(store, make_bag(1500))
        assert same_bag(store.snapshot().bags(bag_key(), "C1")[0], make_bag(1500))
    assert list((tmp_path / "cache").rglob("staging/*")) == []


def test_a_machine_killed_while_it_publishes_leaves_orphans_that_gc_finds(bucket, s3_server, tmp_path):
    EmbeddingStore.create(bucket)
    with FaultyProxy(s3_server) as proxy:
        killed = machine(bucket, proxy.endpoint, tmp_path, "m0", "all", 0)

        def kill_in_the_third_bag(method: str, path: str) -> None:
            bags.update([path] if method == "PUT" and path.endswith("/features/zarr.json") else [])
            if len(bags) == 3:
                killed.send_signal(signal.SIGKILL)

        bags: set[str] = set()
        proxy.watch = kill_in_the_third_bag
        reported = reports(killed)
        assert killed.returncode == -signal.SIGKILL
    assert commits_of(bucket) == dict(reported)
    assert len(reported) == 2
    store = EmbeddingStore.open(bucket)
    report = fsck(store.storage)
    assert report.findings
    assert {finding.problem for finding in report.findings} == {"orphan"}
    assert {file.path for file in collect(store, dry_run=False).kept} == {finding.path for finding in report.findings}
    assert collect(store, dry_run=False, older_than_h=-1).swept
    assert fsck(store.storage).findings == ()
    staged = list((tmp_path / "m0").rglob("staging/*/*"))
    assert staged  # swept by gc on that machine
    assert time.time() - staged[0].stat().st_mtime < 600
