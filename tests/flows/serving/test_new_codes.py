"""What a commit added to the codes: counted per commit, and nothing that was there before."""

from __future__ import annotations

import shutil
from pathlib import Path

from guidestore.embeddings.compact import compact
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.serving.new_codes import codes_by_commit, codes_since
from tests.flows.serving.new_cases import add_cases


def test_only_commits_that_add_codes_count_and_a_compaction_adds_none(report_store: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    shutil.copytree(report_store, root)
    store = EmbeddingStore.open(root)
    old = store.snapshot()
    first = codes_by_commit(old.log, 0, old.version)
    assert [(one.snapshot, one.codes, one.cases) for one in first] == [(1, 90, 90), (2, 90, 90)]
    numbers = [add_cases(root, number, count=2) for number in (0, 10)]
    store.move_alias("nightly")
    assert [compact(store, key) for key in old.code_sets] == [3, 3]
    new = store.snapshot()
    found = codes_by_commit(new.log, old.version, new.version)
    assert [(one.snapshot, one.codes, one.case_codes) for one in found] == [(number, 4, 4) for number in numbers]
    assert codes_by_commit(new.log, numbers[-1], new.version) == []
    together = codes_since(new.log, old.version, new.version)
    assert (together.snapshot, together.codes, together.cases) == (new.version, 8, 4)
    assert "new-0" not in str(together.as_payload())
