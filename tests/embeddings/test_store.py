from __future__ import annotations

import os
import time

import numpy as np
import pyarrow as pa
import pytest

from guidestore.embeddings.errors import (
    AmbiguousNameError,
    InvalidInputError,
    InvalidNameError,
    NotFoundInStoreError,
)
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.records import Tag
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from tests.embeddings.making import (
    bag_key,
    commit_bag,
    commit_codes,
    commit_runs,
    files_of,
    full_store,
    make_bag,
    make_codes,
    make_run,
    mri_key,
)

HOSTILE = ["../x", "/etc/passwd", "a/b", "a\nb", "x" * 300, "С1", "a\0", ".."]


def test_create_opens_what_exists(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    assert (root / "format.json").read_bytes() == b'{"format": 1, "revision": 1}\n'
    assert EmbeddingStore.create(root).log.head == 1


def test_opening_nothing_says_what_to_do(tmp_path):
    with pytest.raises(NotFoundInStoreError, match=r"there is no guidestore at .*name one with --store"):
        EmbeddingStore.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            b'{"format": 1}\n',
            "is a store of format 1, revision 0: a guidestore before 0.1.0 wrote it; read it with that",
        ),
        (b'{"format": 1, "revision": 2}\n', "revision 2: a newer guidestore wrote it; upgrade guidestore"),
        (b'{"format": 2}\n', "of format 2, revision 0: a newer guidestore wrote it; upgrade guidestore"),
        *(
            (data, "format.json is damaged: restore")
            for data in (b"", b"[1]\n", b'{"format": 1, "revision": 1}', b"\xff")
        ),
        (b'{"format": "one"}\n', "format.json is damaged: restore"),
    ],
)
def test_another_format_is_refused(store, root, data, sentence):
    (root / "format.json").write_bytes(data)
    for open_ in (EmbeddingStore.open, EmbeddingStore.create):
        with pytest.raises(InvalidInputError, match=sentence) as caught:
            open_(root)
        assert "\n" not in str(caught.value)
    findings = {finding.path: finding for finding in fsck(store.storage).findings}
    assert findings.keys() == {"format.json"}
    assert sentence in findings["format.json"].detail


def test_writing_what_exists_is_a_no_op(store, root):
    codes, bag = make_codes(["C1", "C2"], mri_key()), make_bag(3)
    ids, artifact = commit_codes(store, codes), commit_bag(store, bag)
    before = files_of(root)
    assert commit_codes(store, codes) == ids
    assert commit_bag(store, bag) == artifact
    assert files_of(root) == before
    assert commit_codes(store, make_codes(["C2", "C3"], mri_key()))[0] == ids[1]
    last = store.snapshot().code_set_entries(mri_key())
    assert [entry.case_id for entry in last] == ["C1", "C2", "C3"]
    assert store.snapshot().codes(mri_key()).codes_nd[:2].tobytes() == codes.codes_nd.tobytes()


def test_a_write_within_a_transaction_is_known_at_once(store):
    with store.begin() as transaction:
        (artifact,) = transaction.write_codes(make_codes(["C1"], mri_key()), input_digests=[["x"]])
        assert transaction.exists(artifact)
        assert not transaction.exists("other")
        transaction.write_codes(make_codes(["C1"], mri_key(), seed=9), input_digests=[["x"]])
    assert transaction.snapshot is not None
    assert transaction.snapshot.version == 1
    assert transaction.snapshot.codes(mri_key()).codes_nd.tobytes() == make_codes(["C1"], mri_key()).codes_nd.tobytes()


def test_an_exception_aborts_and_leaves_nothing(store, root):
    before = files_of(root)
    with pytest.raises(InvalidNameError), store.begin() as transaction:  # noqa: PT012
        transaction.write_bag(bag_key(), "C1", "C1", make_bag(2000), input_digests=["x"])
        transaction.write_codes(make_codes(["C1"], mri_key()), input_digests=[["x"]])
        assert files_of(root) != before
        transaction.move_alias("../x", snapshot=0)
    assert files_of(root) == before
    assert list((root / "staging").iterdir()) == []


def test_one_transaction_is_one_commit(store):
    with store.begin("all at once") as transaction:
        transaction.write_bag(bag_key(), "C1", "C1", make_bag(3), input_digests=["x"])
        transaction.write_codes(make_codes(["C1"], mri_key()), input_digests=[["x"]])
        transaction.move_alias("champion", snapshot=0)
    assert store.snapshot().version == 1
    assert len(store.snapshot().artifacts) == 2
    assert store.snapshot().aliases == {"champion": (0, "")}


def test_tags_never_move(store):
    commit_codes(store, make_codes(["C1"], mri_key()))
    assert store.tag("paper") == 1
    commit_codes(store, make_codes(["C2"], mri_key()))
    assert store.tag("paper", at=1) == 1
    with pytest.raises(InvalidInputError, match="already names snapshot 1; tags never move, use an alias"):
        store.tag("paper")
    assert store.tags() == EmbeddingStore.open(store.storage.root).tags() == {"paper": 1}
    assert store.snapshot().version == 3  # a tag is a commit, given again it is none
    assert store.snapshot("paper").codes(mri_key()).case_ids == ("C1",)
    with pytest.raises(NotFoundInStoreError):
        store.tag("later", at=4)
    assert store.tags() == {"paper": 1}


def test_the_same_tag_of_the_newest_snapshot_again_is_a_no_op_until_something_comes(store):
    commit_codes(store, make_codes(["case-1"], mri_key()))
    first = store.tag("v1")
    head = store.log.head
    store.tag("other")
    assert store.tag("v1") == first  # as after a kill between the commit and its word
    assert store.log.head == head + 1
    commit_codes(store, make_codes(["case-2"], mri_key()))
    with pytest.raises(InvalidInputError, match="already names snapshot 1"):
        store.tag("v1")
    assert store.tag("v1", first) == first


def test_of_two_processes_that_give_a_tag_the_first_wins(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    other = EmbeddingStore.open(root)
    store.tag("paper", at=1)
    assert other.log.append(tags=[Tag("paper", 1)], actor={}) == 2
    with pytest.raises(InvalidInputError, match="tag 'paper' already names snapshot 1"):
        other.log.append(tags=[Tag("paper", 0)], actor={})
    assert other.tags() == {"paper": 1}
    assert other.log.refresh() == 2


def test_aliases_move_and_old_snapshots_remember(store):
    commit_codes(store, make_codes(["C1"], mri_key()))
    store.move_alias("champion", at=1)
    commit_codes(store, make_codes(["C2"], mri_key()))
    store.move_alias("champion", at=3)
    assert store.resolve("champion") == 3
    assert store.snapshot(2).aliases == {"champion": (1, "")}
    assert store.snapshot(1).aliases == {}
    assert EmbeddingStore.open(store.storage.root).snapshot("champion").version == 3
    with pytest.raises(NotFoundInStoreError, match="no artifact nothing"):
        store.move_alias("champion", artifact="nothing")


@pytest.mark.parametrize(
    ("at", "version"), [(None, 4), (0, 0), (2, 2), ("2", 2), ("002", 2), ("paper", 1), ("champion", 2)]
)
def test_resolve(store, at, version):
    commit_codes(store, make_codes(["C1"], mri_key()))
    commit_codes(store, make_codes(["C2"], mri_key()))
    store.tag("paper", at=1)
    store.move_alias("champion", at=2)
    assert store.resolve(at) == version
    assert store.snapshot(at).version == version


@pytest.mark.parametrize("at", [5, -1, "7", "nobody", "²", "", "../x"])
def test_an_unknown_snapshot_is_refused(store, at):
    store.tag("paper", at=0)
    with pytest.raises(NotFoundInStoreError, match=r"there is no (snapshot|tag or alias)"):
        store.snapshot(at)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_everywhere_and_write_nothing(store, root, name):
    before = files_of(root)
    bag, codes = make_bag(2), make_codes(["C1"], mri_key())

    def rows(**row):
        return lambda t: t.write_rows("images", [{"cohort": "glioma", "case_id": "C1", **row}], cohort="glioma")

    attempts = [
        lambda t: t.write_bag(bag_key(), name, "I1", bag, input_digests=["x"]),
        lambda t: t.write_bag(bag_key(), "C1", name, bag, input_digests=["x"]),
        lambda t: t.write_codes(CaseCodes((name,), codes.codes_nd, ("I1",), mri_key()), input_digests=[[]]),
        lambda t: t.write_codes(CaseCodes(("C1",), codes.codes_nd, (name,), mri_key()), input_digests=[[]]),
        lambda t: t.write_codes(make_codes(["C1"], mri_key(name)), input_digests=[[]]),
        lambda t: t.write_rows("cases", [], cohort=name),
        *(rows(**{column: name}) for column in ("cohort", "case_id", "image_id", "modality")),
        lambda t: t.write_rows("splits", [{"cohort": "glioma", "case_id": "C1", "split": name}]),
        *(
            lambda t, field=field: t.write_weights(
                "decoder", **{"name": "mlp", field: name}, config={}, tensors={}, recipe={}
            )
            for field in ("name", "cohort", "split")
        ),
        lambda t: t.move_alias(name, snapshot=0),
        lambda _: store.tag(name),
        lambda _: store.move_alias(name),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidNameError), store.begin() as transaction:
            attempt(transaction)
    assert files_of(root) == before


def test_a_pointer_that_reads_as_a_number_is_refused(store):
    for attempt in (store.tag, store.move_alias, lambda name: store.begin().move_alias(name, snapshot=0)):
        with pytest.raises(InvalidInputError, match="'12' reads as a snapshot number; give it a letter"):
            attempt("12")


def test_the_first_of_two_writers_wins_and_the_losers_objects_are_orphans(store, root):
    other = EmbeddingStore.open(root)
    slow = other.begin("slow")
    slow.__enter__()
    slow.write_codes(make_codes(["C1"], mri_key(), seed=2), input_digests=[["image of C1"]])
    slow.write_bag(bag_key(), "C1", "C1", make_bag(3, seed=2), input_digests=["slide of C1"])
    first = make_codes(["C1"], mri_key(), seed=1)
    commit_codes(store, first)
    commit_bag(store, make_bag(3, seed=1))
    slow.__exit__(None, None, None)
    assert slow.snapshot is not None
    assert slow.snapshot.version == 2
    assert slow.snapshot.codes(mri_key()).codes_nd.tobytes() == first.codes_nd.tobytes()

    report = fsck(store.storage)
    assert report.clean
    orphans = {finding.path for finding in report.findings}
    assert {finding.problem for finding in report.findings} == {"orphan"}
    assert len(orphans) == 6  # one Parquet file and the five files of a bag

    committed = {path for path in files_of(root) if path not in orphans}
    young = collect(store, dry_run=False)
    assert (young.swept, {file.path for file in young.kept}) == ((), orphans)
    for path in orphans:
        a_day_ago = time.time() - 24.1 * 3600
        os.utime(root / path, (a_day_ago, a_day_ago))
    rehearsal = collect(store, dry_run=True)
    assert ({file.path for file in rehearsal.swept}, rehearsal.dry_run) == (orphans, True)
    assert set(files_of(root)) == committed | orphans
    sweep = collect(store, dry_run=False)
    assert {file.path for file in sweep.swept} == orphans
    assert sweep.bytes == sum(file.size for file in sweep.swept) > 0
    assert {path for path in files_of(root) if not path.startswith("trash/")} == committed
    assert fsck(store.storage).findings == ()
    assert store.snapshot().codes(mri_key()).codes_nd.tobytes() == first.codes_nd.tobytes()


def test_rows_are_known_by_their_content(store):
    rows = [{"cohort": "glioma", "case_id": f"C{i}"} for i in range(5)]
    table = pa.Table.from_pylist(rows, schema=SCHEMAS["cases"])
    variants = [
        rows,
        table,
        pa.concat_tables([table.slice(0, 2), table.slice(2)]),
        pa.concat_tables([table, table]).slice(5),
        table.select(["cohort", "case_id"]).cast(SCHEMAS["cases"]),
        pa.table({name: table[name].dictionary_encode() for name in table.schema.names}),
    ]
    ids = set()
    for variant in variants:
        with store.begin() as transaction:
            ids.add(transaction.write_rows("cases", variant, cohort="glioma"))
    assert len(ids) == 1
    assert store.snapshot().version == 1
    with store.begin() as transaction:
        other = transaction.write_rows("cases", rows[:4], cohort="glioma")
    assert other not in ids


def test_rows_of_unknown_kinds_and_columns_are_refused(store):
    with pytest.raises(InvalidInputError, match="'nonsense' is no kind of rows"), store.begin() as transaction:
        transaction.write_rows("nonsense", [])
    with pytest.raises(InvalidInputError, match="have no column colour"), store.begin() as transaction:
        transaction.write_rows("cases", [{"case_id": "C1", "colour": "red"}])
    with pytest.raises(InvalidInputError, match="have columns"), store.begin() as transaction:
        transaction.write_rows("cases", pa.table({"case_id": ["C1"]}))


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_kind_of_rows_takes_a_row_of_each_type(store, kind):
    samples = {
        "string": "x",
        "int32": 3,
        "int64": 4,
        "double": 0.5,
        "bool": True,
        "list<element: double>": [0.25, 0.75],
        "list<element: float>": [0.25, 0.75],
        "list<element: string>": ["x", "y"],
        "list<element: struct<path: string, size: int64, sha256: string>>": [{"path": "a", "size": 1, "sha256": "b"}],
    }
    row = {field.name: samples[str(field.type).replace("item", "element")] for field in SCHEMAS[kind]}
    blank: dict = {}
    if kind in ("runs", "metrics", "predictions"):
        row["run"] = "a" * 64
        batch = {"metrics": [], "predictions": [], kind: [row]}
        with store.begin() as transaction:
            transaction.write_runs([make_run("a" * 64)], batch["metrics"], batch["predictions"], inputs={"a" * 64: []})
        if kind == "runs":
            row = make_run("a" * 64).as_row()
        assert store.snapshot().rows(kind).to_pylist() == [row]
    else:
        with store.begin() as transaction:
            transaction.write_rows(kind, [row, blank], cohort="glioma")
        assert store.snapshot().rows(kind).to_pylist() == [row, dict.fromkeys(row)]


def test_runs_are_written_once_and_found_by_alias_or_digits(store):
    runs = ["ab" * 32, "ab" * 4 + "cd" * 28]
    assert commit_runs(store, runs, ["C1", "C2"]) == runs
    assert commit_runs(store, runs, ["C1", "C2"]) == []
    store.move_alias("champion", artifact=runs[1])
    assert store.find_run("champion").artifact == runs[1]
    assert store.find_run(runs[0][:10]).artifact == runs[0]
    with pytest.raises(AmbiguousNameError, match="matches 2 runs"):
        store.find_run(runs[0][:8])
    for unknown in ("ab", "f" * 64, "nobody"):
        with pytest.raises(NotFoundInStoreError, match=r"there is no run .*an alias \(champion\)"):
            store.find_run(unknown)
    assert store.snapshot().rows("predictions").num_rows == 4
    assert store.snapshot().rows("predictions")["probabilities"].to_pylist()[0] == [0.25, 0.75]


def test_weights_of_one_recipe_are_those_of_the_first(store):
    def write(value):
        with store.begin() as transaction:
            return transaction.write_weights(
                "decoder",
                "mlp",
                config={},
                tensors={"w": np.array([value], np.float32)},
                recipe={"seed": 1},
                cohort="glioma",
                split="s",
                fold=0,
            )

    first, second = write(1), write(2)
    assert first == second
    tensors, entry = store.snapshot().weights(first[0])
    assert tensors["w"].tolist() == [1.0]
    assert entry.path == f"objects/weights/{first[1]}.safetensors"
    assert entry.trained_on == "glioma/s/0"


def test_weights_of_two_recipes_with_equal_bytes_share_a_file(store):
    for seed in (1, 2):
        with store.begin() as transaction:
            transaction.write_weights(
                "decoder", "mlp", config={}, tensors={"w": np.ones(2, np.float32)}, recipe={"seed": seed}
            )
    first, second = store.snapshot().entries(kind="weights")
    assert (first.path, first.artifact == second.artifact) == (second.path, False)
    assert fsck(store.storage).findings == ()


def test_a_commit_says_who_and_with_what(store):
    commit_codes(store, make_codes(["C1"], mri_key()))
    from guidestore.embeddings.commit_log import read_record

    actor = read_record(store.storage, 1).actor
    assert set(actor) == {"host", "flow_run_id", "git_sha", "environment"}
    assert actor["environment"]["numpy"] == np.__version__
    assert actor["host"]


def test_a_store_of_everything_is_clean_and_opens_again(tmp_path):
    store = full_store(tmp_path / "store")
    assert fsck(store.storage).findings == ()
    again = EmbeddingStore.open(tmp_path / "store")
    assert again.log.table().equals(store.log.table())
    assert again.snapshot("paper").version == again.log.head - 1
    assert again.find_run("champion").inputs == ("codes",)
