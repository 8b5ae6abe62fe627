"""Random histories of a store against a plain-dict model: every snapshot, alias and tag stays what it was."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from guidestore.embeddings import checkpoints
from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.purge import purge
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from tests.embeddings.making import bag_key, commit_bag, commit_codes, make_bag, mri_key

CASES = [f"C{i}" for i in range(6)]
NAMES = ["champion", "baseline"]
who = st.integers(0, 1)
some_cases = st.lists(st.sampled_from(CASES), min_size=1, max_size=4, unique=True)


class StoreMachine(RuleBasedStateMachine):
    """Two handles on one store, as two processes would have; the model holds each snapshot's values."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="guidestore-"))
        self.stores = [EmbeddingStore.create(self.root), EmbeddingStore.open(self.root)]
        self.history: list[dict[tuple[str, str], bytes]] = [{}]
        self.files = [0]  # of MRI codes at each snapshot
        self.aliases: list[dict[str, tuple[int, str]]] = [{}]
        self.tags: dict[str, int] = {}
        self.purged: set[str] = set()

    @property
    def head(self) -> int:
        return len(self.history) - 1

    def advance(self, now: dict[tuple[str, str], bytes], files: int | None = None) -> None:
        self.history.append(now)
        self.files.append(self.files[-1] if files is None else files)
        self.aliases.append(dict(self.aliases[-1]))

    @rule(
        who=who, cases=st.lists(st.sampled_from(CASES), min_size=1, max_size=4, unique=True), value=st.integers(0, 99)
    )
    def add_codes(self, who, cases, value):
        """Duplicates are no-ops; the first value of a case stays."""
        codes_nd = np.array([[value, i, 0, 0] for i in range(len(cases))], np.float32)
        commit_codes(self.stores[who], CaseCodes(tuple(cases), codes_nd, (), mri_key()))
        now = dict(self.history[-1])
        new = {("codes", case): row.tobytes() for case, row in zip(cases, codes_nd, strict=True)}
        new = {key: value for key, value in new.items() if key not in now}
        if new:
            self.advance({**now, **new}, self.files[-1] + 1)

    @rule(who=who, case=st.sampled_from(CASES), seed=st.integers(0, 99))
    def add_bag(self, who, case, seed):
        bag = make_bag(3, seed=seed)
        commit_bag(self.stores[who], bag, case)
        if ("bag", case) not in self.history[-1]:
            self.advance({**self.history[-1], ("bag", case): bag.features_nd.tobytes()})

    @rule(who=who)
    def compact(self, who):
        joined = compact(self.stores[who], mri_key()) if any(k == "codes" for k, _ in self.history[-1]) else 0
        assert joined == (self.files[-1] if self.files[-1] > 1 else 0)
        if joined:
            self.advance(dict(self.history[-1]), 1)

    @rule(who=who, name=st.sampled_from(NAMES), data=st.data())
    def move_alias(self, who, name, data):
        at = data.draw(st.integers(0, self.head))
        self.stores[who].move_alias(name, at)
        self.advance(dict(self.history[-1]))
        self.aliases[-1][name] = (at, "")

    @rule(who=who, name=st.sampled_from(["paper", "thesis"]), data=st.data())
    def tag(self, who, name, data):
        at = data.draw(st.integers(0, self.head))
        if name not in self.tags:
            self.advance(dict(self.history[-1]))
        if self.tags.setdefault(name, at) == at:
            assert self.stores[who].tag(name, at) == at
        else:
            with pytest.raises(InvalidInputError, match="tags never move"):
                self.stores[who].tag(name, at)

    @rule(who=who, case=st.sampled_from(CASES))
    def purge(self, who, case):
        if not any(key[1] == case for snapshot in self.history for key in snapshot):
            if case in self.purged:
                assert purge(self.stores[who], "glioma", case).artifacts == 0
            else:
                with pytest.raises(NotFoundInStoreError):
                    purge(self.stores[who], "glioma", case)
            return
        purge(self.stores[who], "glioma", case)
        self.purged.add(case)
        for snapshot in self.history:
            for kind in ("codes", "bag"):
                snapshot.pop((kind, case), None)
        self.advance(dict(self.history[-1]), -1)

    @rule(who=who)
    def reopen(self, who):
        self.stores[who] = EmbeddingStore.open(self.root)

    @rule(who=who)
    def sweep(self, who):
        collect(self.stores[who], dry_run=False, older_than_h=-1)

    @precondition(lambda self: self.files[-1] < 0)
    @invariant()
    def recount(self):
        """After a purge a file may hold no code that lives; how many do, the store says."""
        entries = self.stores[0].snapshot().entries(kind="codes")
        self.files[-1] = len({entry.path for entry in entries})

    @rule(who=who, data=st.data())
    def look(self, who, data):
        version = data.draw(st.integers(0, self.head))
        self.same(self.stores[who], version)

    def same(self, store: EmbeddingStore, version: int) -> None:
        snapshot = store.snapshot(version)
        expected = self.history[version]
        read = {}
        if any(kind == "codes" for kind, _ in expected):
            codes = snapshot.codes(mri_key())
            read |= {("codes", case): row.tobytes() for case, row in zip(codes.case_ids, codes.codes_nd, strict=True)}
        for case in {case for kind, case in expected if kind == "bag"}:
            (bag,) = snapshot.bags(bag_key(), case)
            read["bag", case] = bag.features_nd.tobytes()
        assert read == expected
        assert len(snapshot.artifacts) == len(expected)
        assert snapshot.aliases == self.aliases[version]

    @invariant()
    def head_is_the_models(self):
        for store in self.stores:
            assert store.snapshot().version == self.head
            assert store.tags() == self.tags
            assert dict(store.log.live()).keys() == store.snapshot().artifacts

    def teardown(self):
        try:
            for version in range(self.head + 1):
                self.same(self.stores[0], version)
            opened = EmbeddingStore.open(self.root)
            assert opened.log.table().equals(self.stores[0].log.table())
            assert all(finding.problem == "orphan" for finding in fsck(opened.storage).findings)
        finally:
            shutil.rmtree(self.root)


@pytest.fixture(autouse=True)
def many_checkpoints(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 3)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=15,
    stateful_step_count=18,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
