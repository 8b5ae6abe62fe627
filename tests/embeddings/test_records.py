from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import (
    AliasMove,
    Commit,
    Entry,
    FileRef,
    Purge,
    Redirect,
    Removal,
    dedupe_paths,
    open_sealed_json,
    sealed_json,
)
from tests.embeddings.making import flips

BODY = {"name": "paper", "snapshot": 12, "ratio": 1e300, "deep": {"é": [True, None, 0.5]}}
FILE = FileRef("objects/codes/mri_t1/densenet/01.parquet", 12, "ab" * 32)
COMMIT = Commit(
    version=3,
    commit_uuid="cd" * 16,
    parent=2,
    parent_sha256="ef" * 32,
    created_at="2026-01-01T00:00:00.000+00:00",
    actor={"host": "example", "environment": {"python": "3.12"}},
    message="all there is",
    add=(
        Entry(
            "11" * 32,
            "codes",
            FILE.path,
            (FILE,),
            "glioma",
            "C1",
            "I1",
            "mri_t1",
            "densenet",
            "22" * 32,
            "glioma/published/0",
            "published",
            0,
            "float32",
            (4,),
            ("in",),
            {"role": "guidance", "config": {"widths": [4, 2]}},
        ),
    ),
    remove=(Removal("33" * 32, "objects/old"),),
    aliases=(AliasMove("champion", 2, "44" * 32),),
    purge=(Purge("glioma", "C9", ("55" * 32,), (Redirect(FILE, None), Redirect(FILE, FILE)), ("66" * 32,)),),
)


def test_every_single_bit_flip_of_sealed_json_is_caught():
    data = sealed_json(BODY)
    assert open_sealed_json(data, "tags/paper.json") == BODY
    for bit, damaged in flips(data, range(len(data) * 8)):
        with pytest.raises(CorruptArtifactError) as caught:
            open_sealed_json(damaged, "tags/paper.json")
        assert str(caught.value).startswith("tags/paper.json is damaged"), bit


def test_every_truncation_and_extension_of_sealed_json_is_caught():
    data = sealed_json(BODY)
    for length in range(len(data)):
        with pytest.raises(CorruptArtifactError):
            open_sealed_json(data[:length], "x")
    for more in (b"\n", b" ", b"{}", b"\0"):
        with pytest.raises(CorruptArtifactError):
            open_sealed_json(data + more, "x")


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b'"x"', b"null", b"{}", b"[1,2]", b'{"sha256":1}', b"\xff\xfe"])
def test_json_that_is_no_sealed_json_is_refused(data):
    with pytest.raises(CorruptArtifactError, match=r"commits/7\.json is damaged"):
        open_sealed_json(data, "commits/7.json")


def test_a_commit_round_trips_with_all_its_parts():
    data = COMMIT.to_bytes()
    again = Commit.from_bytes(data, "commits/3.json")
    assert again == COMMIT
    assert again.sha256 == json.loads(data)["sha256"] == COMMIT.sha256


def test_every_sampled_bit_flip_of_a_commit_is_caught():
    data = COMMIT.to_bytes()
    for _, damaged in flips(data, range(3, len(data) * 8, 5)):
        with pytest.raises(CorruptArtifactError):
            Commit.from_bytes(damaged, "commits/3.json")


def test_integer_keys_in_meta_do_not_break_the_seal():
    # Class weights are naturally keyed by class number; 10 sorts before 2 as text and after it as a number.
    entry = Entry("11" * 32, "weights", FILE.path, (FILE,), meta={"config": {2: 1.5, 10: 0.5}})
    commit = Commit(1, "cd" * 16, 0, "", "2026-01-01T00:00:00.000+00:00", {}, add=(entry,))
    again = Commit.from_bytes(commit.to_bytes(), "commits/1.json")
    assert again.sha256 == commit.sha256
    assert again.add[0].meta["config"] == {"2": 1.5, "10": 0.5}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5).filter(lambda key: key != "sha256"), json_values, max_size=4))
def test_any_json_body_round_trips(body):
    assert open_sealed_json(sealed_json(body), "x") == body


def test_dedupe_paths_keeps_the_first_order():
    other = FileRef("b", 1, "x")
    assert dedupe_paths([FILE, other, FILE]) == [FILE, other]
