from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings.errors import CorruptArtifactError, InvalidInputError
from guidestore.embeddings.records import FileRef
from guidestore.embeddings.tables import read_table
from guidestore.embeddings.types import CaseCodes
from tests.embeddings.making import commit_codes, digests, flips, make_codes, mri_key


def test_codes_come_back_bit_by_bit_sorted_by_case(store):
    codes = make_codes(["C3", "C1", "C2"], mri_key())
    commit_codes(store, codes)
    read = store.snapshot().codes(mri_key())
    assert read.case_ids == ("C1", "C2", "C3")
    assert read.image_ids == read.case_ids
    assert read.key == mri_key()
    assert read.codes_nd.tobytes() == codes.codes_nd[[1, 2, 0]].tobytes()


def test_nan_and_infinity_of_imports_survive(store):
    codes_nd = np.array([[np.nan, 1, np.inf, -0.0], [1, 2, 3, -np.inf]], np.float32)
    commit_codes(store, CaseCodes(("C1", "C2"), codes_nd, (), mri_key()))
    assert store.snapshot().codes(mri_key()).codes_nd.tobytes() == codes_nd.tobytes()


def test_batches_of_64_make_one_file_each_and_one_code_set(store):
    cases = [f"C{i:03d}" for i in range(150)]
    codes = make_codes(cases, mri_key())
    for start in range(0, 150, 64):
        part = slice(start, start + 64)
        commit_codes(store, CaseCodes(tuple(cases[part]), codes.codes_nd[part], (), mri_key()))
    snapshot = store.snapshot()
    assert len({entry.path for entry in snapshot.code_set_entries(mri_key())}) == 3
    assert snapshot.codes(mri_key()).case_ids == tuple(cases)
    assert snapshot.codes(mri_key()).codes_nd.tobytes() == codes.codes_nd.tobytes()


def test_several_images_of_a_case_are_kept_apart(store):
    codes = CaseCodes(("C1", "C1"), np.arange(8, dtype=np.float32).reshape(2, 4), ("right", "left"), mri_key())
    commit_codes(store, codes)
    read = store.snapshot().codes(mri_key())
    assert read.image_ids == ("left", "right")
    assert read.codes_nd.tolist() == [[4, 5, 6, 7], [0, 1, 2, 3]]


def test_a_case_that_comes_twice_with_one_image_is_refused(store):
    codes = make_codes(["C1", "C2", "C1"], mri_key())
    with pytest.raises(InvalidInputError, match=r"1 cases come twice.*as C1.*keep one row"):
        commit_codes(store, codes)
    assert store.snapshot().version == 0


def test_a_width_that_is_not_the_code_sets_is_refused(store):
    wide = CaseCodes(("C1",), np.zeros((1, 5), np.float32), (), mri_key())
    with pytest.raises(InvalidInputError, match="codes have 5 dimensions"):
        commit_codes(store, wide)
    with pytest.raises(InvalidInputError, match="without a code set key"), store.begin() as transaction:
        transaction.write_codes(CaseCodes(("C1",), np.zeros((1, 4), np.float32)), input_digests=[[]])


def test_a_flipped_bit_of_a_code_file_is_caught_on_reading(store, root):
    commit_codes(store, make_codes(["C1", "C2"], mri_key()))
    (entry, _) = store.snapshot().code_set_entries(mri_key())
    path = root / entry.path
    whole = path.read_bytes()
    for _, damaged in flips(whole, range(0, len(whole) * 8, 43)):
        path.write_bytes(damaged)
        with pytest.raises(CorruptArtifactError, match=entry.path):
            store.snapshot().codes(mri_key())
    path.unlink()
    with pytest.raises(CorruptArtifactError, match=f"{entry.path} is missing"):
        store.snapshot().codes(mri_key())


def test_the_file_is_the_documented_one(store, root):
    ids = commit_codes(store, make_codes(["C1", "C2"], mri_key()))
    (entry, _) = store.snapshot().code_set_entries(mri_key())
    assert entry.path.startswith("objects/codes/mri_t1/densenet/")
    table = pq.read_table(root / entry.path)
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("case_id", "string"),
        ("image_id", "string"),
        ("artifact", "string"),
        ("code", "fixed_size_list<element: float>[4]"),
    ]
    assert table["artifact"].to_pylist() == ids
    parquet = pq.ParquetFile(root / entry.path)
    column = parquet.metadata.row_group(0).column(3)
    parquet.close()
    assert (column.path_in_schema, column.compression) == ("code.list.element", "UNCOMPRESSED")


def test_pages_carry_checksums_of_their_own(store, root):
    # So that other tools, which know no commit, can see damage too.
    commit_codes(store, make_codes([f"C{i}" for i in range(64)], mri_key()))
    path = root / store.snapshot().code_set_entries(mri_key())[0].path
    whole = bytearray(path.read_bytes())
    parquet = pq.ParquetFile(path)
    column = parquet.metadata.row_group(0).column(3)
    parquet.close()
    whole[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_read_table_refuses_a_file_of_another_size(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    file = store.snapshot().code_set_entries(mri_key())[0].files[0]
    assert read_table(store.storage, file).num_rows == 1
    with pytest.raises(CorruptArtifactError, match=file.path):
        read_table(store.storage, FileRef(file.path, file.size + 1, file.sha256))


def test_digests_per_row_are_needed(store):
    codes = make_codes(["C1", "C2"], mri_key())
    with pytest.raises(ValueError, match="zip"), store.begin() as transaction:
        transaction.write_codes(codes, input_digests=digests(codes)[:1])
