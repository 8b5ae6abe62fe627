"""The folded log against a fold written from docs/store-format.md alone, on random logs with removals and purges."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from guidestore.embeddings import checkpoints, commit_log
from guidestore.embeddings.commit_log import CommitLog
from guidestore.embeddings.opening import new_storage
from guidestore.embeddings.records import AliasMove, Entry, FileRef, Purge, Redirect, Removal, Tag
from guidestore.embeddings.storage import Storage
from tests.embeddings.test_store_format import Reader, canonical

ACTOR = {"host": "example"}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add many", "remove", "replace", "alias", "tag", "purge", "purge rows"]),
        st.integers(0, 5),
    ),
    max_size=14,
)


def file_of(number: int, version: int = 0) -> FileRef:
    return FileRef(f"objects/rows/cases/{number}-{version}.parquet", number, f"{number:032x}{version:032x}")


def entry(name: str, number: int, version: int = 0) -> Entry:
    """One of two files each: several entries share them."""
    files = (file_of(number % 3, version), file_of(7, version))
    return Entry(name, "rows:cases", files[0].path, files, cohort="glioma", meta={"n": number}, shape=(number,))


def step(log: CommitLog, what: str, number: int, at: int) -> None:
    """One commit, or none where there is nothing to take away."""
    live = dict(log.live())
    names = sorted(live)
    chosen = names[number % len(names)] if names else ""
    if what == "add":
        log.append(add=[entry(f"a{number}", number, at)], actor=ACTOR)
    elif what == "add many":
        log.append(add=[entry(f"m{at}-{i}", i, at) for i in range(number + 3)], actor=ACTOR)
    elif what == "alias":
        log.append(aliases=[AliasMove(f"alias{number % 2}", log.head, chosen)], actor=ACTOR)
    elif what == "tag":
        log.append(tags=[Tag(f"tag{at}", log.head)], actor=ACTOR)
    elif chosen and what in ("remove", "replace"):
        again = [entry(chosen, number, at)] if what == "replace" else []
        log.append(add=again, remove=[Removal(chosen, live[chosen])], actor=ACTOR)
    elif chosen:
        old = {file["path"]: FileRef(**file) for files in log.table()["files"].to_pylist() for file in files}
        redirects = [
            Redirect(file, file_of(90 + at, i) if i % 2 == number % 2 else None)
            for i, file in enumerate(list(old.values())[: number + 1])
        ]
        gone = (chosen,) if what == "purge" else ()
        log.append(purge=[Purge("glioma", "C1", gone, tuple(redirects), ("w",))], actor=ACTOR)


def opened(storage: Storage) -> CommitLog:
    return CommitLog(storage)


@settings(deadline=None, max_examples=40)
@given(steps=STEPS, every=st.integers(2, 5), after=st.integers(0, 14))
def test_any_log_folds_to_what_the_format_says(steps, every, after):
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(checkpoints, "EVERY_COMMITS", every),
        mock.patch.object(commit_log, "INLINE_ENTRIES", 3),
    ):
        storage = new_storage(folder)
        log = CommitLog(storage)
        for at, (what, number) in enumerate(steps, 1):
            step(log, what, number, at)
        reference = Reader(Path(folder))
        expected = [{**row, "meta": canonical(row["meta"]).decode()} for row in reference.rows]
        assert [dict(row) for row in log.table().to_pylist()] == expected
        assert opened(storage).table().to_pylist() == expected
        # Each of these reads less than the whole.
        there = [row for row in reference.snapshot(log.head) if row["kind"] == "rows:cases"]
        assert opened(storage).live() == log.live() == {row["artifact"]: row["path"] for row in there}
        assert opened(storage).tags() == log.tags() == reference.tags()
        pointers = {name: list(of) for name, of in opened(storage).aliases().items()}
        assert pointers == reference.aliases(log.head)
        for one in (opened(storage), log):
            beyond = one.since(after)
            assert beyond.added.to_pylist() == [row for row in expected if row["added_at"] > after]
            removed = {(row["is_alias"], row["artifact"]): row["removed_at"] for row in beyond.removed.to_pylist()}
            for row in expected:
                if row["added_at"] <= after and row["removed_at"] and row["removed_at"] > after:
                    assert removed[row["kind"] == "alias", row["artifact"]] == row["removed_at"]
            standing = [row for row in expected if row["added_at"] <= after and row["removed_at"] is None]
            assert not any((row["kind"] == "alias", row["artifact"]) in removed for row in standing)
