"""Building the index: growing, rebuilding, damage, purge, and what is left in the folder."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from guidestore.embeddings.compact import compact
from guidestore.embeddings.current import read_current
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.purge import purge
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetKey, EncoderSpec
from guidestore.warehouse import entry_files, indexer
from guidestore.warehouse.catalog import open_catalog, query
from guidestore.warehouse.entry_files import EntryFiles
from guidestore.warehouse.indexer import build_index
from tests.warehouse.making import (
    CASES,
    COHORT,
    MRI,
    SLIDES,
    codes_of,
    commit_codes,
    commit_cohort,
    commit_rest,
    make_run,
    scores,
)

BASE = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'base' ORDER BY table_name"


def contents(root: Path, at: int | None = None) -> dict[str, list]:
    """All views, sorted, as one value."""
    con = open_catalog(root, at)
    views = [name for (name,) in con.execute("SELECT name FROM (SHOW TABLES)").fetchall()]
    found = {view: sorted(map(repr, con.execute(f"FROM {view}").fetchall())) for view in views}
    con.close()
    return found


def files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "index").iterdir())


@pytest.fixture(params=[pytest.param("one file", marks=pytest.mark.slow), "parts"])
def parts(request, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what is new comes into a part of its own, as it does beside large ones."""
    if request.param == "parts":
        monkeypatch.setattr(indexer, "_GROWN_BYTES", 0)
        monkeypatch.setattr(indexer, "_SHARE", 10**9)
    return request.param == "parts"


def test_growing_gives_what_rebuilding_gives(store: EmbeddingStore, root: Path, parts: bool):
    commit_cohort(store)
    assert build_index(store).action == "rebuilt"
    commit_rest(store)
    assert build_index(store).action == "grown"
    commit_codes(store, codes_of(CodeSetKey.of(COHORT, "mri_t1", EncoderSpec("wide", "1", "volumes", 16)), 5))
    (labels,) = store.snapshot().entries(kind="rows:labels")
    with store.begin() as transaction:
        transaction.replace(labels)
    store.move_alias("champion", artifact="run_b")
    grown = build_index(store)
    assert (grown.action, grown.version, grown.commits_behind) == ("grown", store.log.head, 0)
    versions = [1, 3, 7, 8, 9, None]
    of_grown = [contents(root, at) for at in versions]
    current = read_current(root / "index")
    assert current
    assert len(current.parts) == (3 if parts else 1)
    assert build_index(store, rebuild=True).action == "rebuilt"
    assert [contents(root, at) for at in versions] == of_grown
    assert (len(of_grown[0]["labels"]), len(of_grown[-1]["labels"]), len(of_grown[-1]["codes"])) == (12, 0, 36)


def test_nothing_new_builds_nothing(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    first = build_index(store)
    written = first.path.stat().st_mtime_ns
    again = build_index(store)
    assert (again.action, again.path, again.path.stat().st_mtime_ns) == ("kept", first.path, written)


def test_names_are_never_reused_and_two_catalogs_stay(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    names = [build_index(store, rebuild=True).path.name for _ in range(3)]
    assert names == [f"catalog-000000000001{suffix}.duckdb" for suffix in ("", "-1", "-2")]
    assert files(root) == ["CURRENT", "LOCK", "catalog-000000000001-2.duckdb"]
    for seed in range(3):
        commit_codes(store, codes_of(MRI, seed, CASES[seed : seed + 1]))
        build_index(store)
    assert files(root) == ["CURRENT", "LOCK", "catalog-000000000003.duckdb", "catalog-000000000004.duckdb"]


def test_a_reader_keeps_its_catalog_while_others_take_its_place(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    build_index(store)
    reader = open_catalog(root)
    for seed in range(3):
        commit_codes(store, codes_of(MRI, seed, CASES[seed : seed + 1]))
        build_index(store)
    assert reader.execute("SELECT count(*) FROM codes").fetchall() == [(0,)]
    assert reader.execute("SELECT count(*) FROM labels").fetchall() == [(12,)]
    reader.close()
    assert query(root, "SELECT count(*) AS n FROM codes").table["n"][0].as_py() == 3


@pytest.mark.parametrize(
    "damage", ["CURRENT gone", "CURRENT flipped", "CURRENT empty", "catalog gone", "catalog flipped"]
)
def test_damage_leads_to_a_rebuild(store: EmbeddingStore, root: Path, damage: str):
    commit_cohort(store)
    commit_rest(store)
    catalog = build_index(store).path
    whole = contents(root)
    victim = root / "index" / "CURRENT" if damage.startswith("CURRENT") else catalog
    data = bytearray(victim.read_bytes())
    if damage.endswith("gone"):
        victim.unlink()
    else:
        data[len(data) // 2] ^= 1
        victim.write_bytes(b"" if damage.endswith("empty") else data)
    assert build_index(store).action == "rebuilt"
    assert contents(root) == whole


def test_every_damaged_byte_of_current_is_seen(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    build_index(store)
    current = root / "index" / "CURRENT"
    data = current.read_bytes()
    for place in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[place] ^= 4
        current.write_bytes(flipped)
        with pytest.raises(CorruptArtifactError, match="CURRENT is damaged"):
            query(root, "SELECT 1")


def test_a_corrupt_file_of_the_store_is_no_silent_gap(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    build_index(store)
    commit_codes(store, codes_of(MRI, 0))
    (file,) = (root / "objects" / "codes").rglob("*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptArtifactError, match=file.name):
        build_index(store)
    assert query(root, "SELECT count(*) AS n FROM labels").table["n"][0].as_py() == 12
    assert [name for name in files(root) if name.startswith("building")] == []
    file.unlink()
    with pytest.raises(CorruptArtifactError, match="missing"):
        build_index(store, rebuild=True)


def test_another_layout_duckdb_or_log_leads_to_a_rebuild(
    store: EmbeddingStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commit_cohort(store)
    build_index(store)
    with monkeypatch.context() as patch:
        patch.setattr(indexer, "layout_digest", lambda: "another")
        assert build_index(store).action == "rebuilt"
    assert build_index(store).action == "rebuilt"
    other = EmbeddingStore.create(tmp_path / "other")
    commit_codes(other, codes_of(MRI, 0))
    (root / "index").rename(tmp_path / "other" / "index")
    assert build_index(other).action == "rebuilt"
    assert query(tmp_path / "other", "SELECT count(*) AS n FROM labels").table["n"][0].as_py() == 0


def test_a_purge_rebuilds_and_deletes_every_older_catalog(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    build_index(store)
    commit_rest(store)
    build_index(store)
    commit_codes(store, codes_of(CodeSetKey.of(COHORT, "mri_t1", EncoderSpec("wide", "1", "volumes", 16)), 5))
    purge(store, COHORT, CASES[0])
    after = build_index(store)
    assert after.action == "rebuilt"
    assert files(root) == ["CURRENT", "LOCK", after.path.name]
    assert CASES[0].encode() not in after.path.read_bytes()
    assert len(contents(root, 3)["codes"]) == 22
    assert len(contents(root)["cases"]) == 11
    commit_codes(store, codes_of(MRI, 9, ("case_99",)))
    assert build_index(store).action == "grown"
    assert build_index(store, rebuild=True).action == "rebuilt"
    assert CASES[1].encode() in after.path.parent.joinpath(files(root)[-1]).read_bytes()


def test_a_purge_that_takes_what_is_to_be_read_is_looked_at_again(
    store: EmbeddingStore, root: Path, monkeypatch: pytest.MonkeyPatch
):
    commit_cohort(store)
    commit_rest(store)
    late = [CASES[0]]
    fill = indexer._fill

    def filled(*given) -> None:
        if late:
            purge(EmbeddingStore.open(root), COHORT, late.pop())
        fill(*given)

    monkeypatch.setattr(indexer, "_fill", filled)
    assert build_index(store).commits_behind == 0
    assert late == []
    assert [path.name for path in (root / "index").glob("building-*")] == []
    assert CASES[0] not in query(root, "SELECT case_id FROM codes").table["case_id"].to_pylist()


def test_what_comes_and_goes_is_right_at_every_snapshot_in_parts_too(store: EmbeddingStore, root: Path, parts: bool):
    commit_cohort(store)
    commit_rest(store)
    build_index(store)
    for number, case in enumerate(CASES[:3]):  # the same artifacts removed, added again and compacted
        commit_codes(
            store, codes_of(CodeSetKey.of(COHORT, "mri_t1", EncoderSpec("late", "1", "volumes", 8)), 3, (case,))
        )
        build_index(store)
        store.move_alias("champion", at=number + 1)
        build_index(store)
    late = next(key for key in store.snapshot().code_sets if key.encoder == "late")
    compact(store, late)
    build_index(store)
    gone = store.snapshot().code_set_entries(late)[0]
    with store.begin() as transaction:
        transaction.replace(gone)
    build_index(store)
    commit_codes(store, codes_of(late, 3, (gone.case_id,)))
    assert build_index(store).action == "grown"
    versions = [1, 4, *range(store.log.head - 5, store.log.head + 1)]
    grown = [contents(root, at) for at in versions]
    assert [len([row for row in view["codes"] if "/late@" in row]) for view in grown[-3:]] == [3, 2, 3]
    assert query(root, "SELECT count(*) AS n FROM aliases").table["n"][0].as_py() == 1
    assert build_index(store, rebuild=True).action == "rebuilt"
    assert [contents(root, at) for at in versions] == grown


def test_a_part_that_went_meanwhile_is_built_again(
    store: EmbeddingStore, root: Path, monkeypatch: pytest.MonkeyPatch, parts: bool
):
    commit_cohort(store)
    build_index(store)
    commit_codes(store, codes_of(MRI, 0))
    publish = indexer._publish

    def overtaken(folder, temporary, built, *rest):
        monkeypatch.setattr(indexer, "_publish", publish)
        for part in built.parts[:-1]:
            (folder / part.name).unlink()
        return publish(folder, temporary, built, *rest)

    monkeypatch.setattr(indexer, "_publish", overtaken)
    info = build_index(store)
    assert (info.version, info.action) == (2, "rebuilt" if parts else "grown")
    assert query(root, "SELECT count(*) AS n FROM codes").table["n"][0].as_py() == 12


def test_large_files_are_read_in_pieces_and_any_order_of_rows_is_right(
    store: EmbeddingStore, root: Path, monkeypatch: pytest.MonkeyPatch
):
    commit_rest(store)
    build_index(store)
    whole = contents(root)
    monkeypatch.setattr(entry_files, "_LARGE_BYTES", 0)
    monkeypatch.setattr(entry_files, "_PIECE_ROWS", 5)
    build_index(store, rebuild=True)
    assert contents(root) == whole
    files = EntryFiles.of(store.log.table(), "codes", "objects/codes/", 8)
    turned = replace(files, named=files.named.take(list(range(len(files.named)))[::-1]))
    both = [
        of.joined(store.storage, "artifact", lambda rows: rows.select(["artifact", "code"])) for of in (files, turned)
    ]
    in_order, as_turned = ([repr(row) for table in tables for row in table.to_pylist()] for tables in both)
    assert len(in_order) == len(files.named) > 5
    assert sorted(in_order) == sorted(as_turned)


def test_a_compacted_set_counts_once_at_every_snapshot(store: EmbeddingStore, root: Path):
    for number, case in enumerate(CASES):
        commit_codes(store, codes_of(MRI, number, (case,)))
    build_index(store)
    assert compact(store, MRI) == 12
    assert build_index(store).action == "grown"
    counts = {at: query(root, "SELECT count(*) AS n FROM codes", at).table["n"][0].as_py() for at in (5, 12, 13)}
    assert counts == {5: 5, 12: 12, 13: 12}


def test_a_run_in_two_batches_is_there_once(store: EmbeddingStore, root: Path):
    late = EmbeddingStore.open(root)
    with late.begin() as second:
        inputs = {"run_a": (), "run_b": ()}
        second.write_runs(
            [make_run("run_a", seed=7), make_run("run_b")],
            [*scores("run_a", test=0.1), *scores("run_b", test=0.2)],
            [],
            inputs=inputs,
        )
        with store.begin() as first:
            first.write_runs([make_run("run_a", seed=5)], scores("run_a", test=0.9), [], inputs={"run_a": ()})
    build_index(store)
    found = query(root, "SELECT DISTINCT run, seed, value FROM metrics ORDER BY run").table.to_pylist()
    assert found == [{"run": "run_a", "seed": 5, "value": 0.9}, {"run": "run_b", "seed": 0, "value": 0.2}]


def test_a_slow_indexer_never_moves_current_back(store: EmbeddingStore, root: Path, monkeypatch: pytest.MonkeyPatch):
    commit_cohort(store)
    publish = indexer._publish
    fast = {}

    def overtaken(*arguments):
        monkeypatch.setattr(indexer, "_publish", publish)
        commit_codes(store, codes_of(MRI, 0))
        fast["info"] = build_index(store)
        return publish(*arguments)

    monkeypatch.setattr(indexer, "_publish", overtaken)
    slow = build_index(store)
    assert (fast["info"].version, fast["info"].action) == (2, "rebuilt")
    assert (slow.version, slow.action, slow.path) == (2, "kept", fast["info"].path)
    assert files(root) == ["CURRENT", "LOCK", "catalog-000000000002.duckdb"]


def test_leftovers_are_swept_once_old(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    build_index(store)
    old, young = root / "index" / "building-OLD.duckdb", root / "index" / "building-YOUNG.duckdb"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 4000, time.time() - 4000))
    build_index(store)
    assert (old.exists(), young.exists()) == (False, True)


def test_an_empty_store_has_an_index(store: EmbeddingStore, root: Path):
    assert build_index(store).version == 0
    assert query(root, "FROM cases").table.num_rows == 0
    commit_codes(store, codes_of(SLIDES, 0))
    assert build_index(store).action == "grown"
    assert query(root, "SELECT count(*) AS n FROM cases").table["n"][0].as_py() == 12
