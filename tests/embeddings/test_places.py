from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guidestore.embeddings.errors import InvalidInputError, StorageError
from guidestore.embeddings.opening import new_storage, opened_storage, storage_at
from guidestore.embeddings.places import absolute, bucket_of, local_folder, shown
from guidestore.embeddings.storage import LocalStorage


@pytest.mark.parametrize("spelt", ["s3://codes/a/b", "s3://codes/a/b/", "s3://codes//a/./b/"])
def test_spellings_of_a_url_mean_one_place(spelt):
    assert bucket_of(spelt) == ("codes", "a/b")
    assert shown(spelt) == absolute(spelt) == "s3://codes/a/b"
    assert local_folder(spelt) == local_folder("s3://codes/a/b")


def test_a_bucket_needs_no_prefix():
    assert bucket_of("s3://codes") == bucket_of("s3://codes/") == ("codes", "")
    assert shown("s3://codes/") == "s3://codes"


@pytest.mark.parametrize("folder", ["store", "/tmp/store", "s3", "./s3-store", "a/s3:/b"])
def test_all_else_is_a_folder(folder):
    assert bucket_of(folder) is None
    assert shown(folder) == folder
    assert local_folder(folder) == Path(absolute(folder)) == Path(folder).absolute()
    assert isinstance(storage_at(folder), LocalStorage)


@pytest.mark.parametrize(
    "url",
    [
        *("s3://", "s3:", "s3:/codes/a", Path("s3://codes/a"), "gs://codes/a", Path("gs://codes/a"), "file:///tmp"),
        "s3://codes/../a",
    ],
)
def test_other_urls_are_refused_and_make_no_folder(url):
    with pytest.raises(InvalidInputError, match=r"no place for a store: name a folder, or s3://BUCKET/PREFIX"):
        storage_at(url)


def test_the_cache_folder_is_of_the_bucket_and_its_server(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders = {local_folder("s3://codes/a"), local_folder("s3://codes/b"), local_folder("s3://codes")}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    folders.add(local_folder("s3://codes/a"))
    assert len(folders) == 4
    assert {folder.parent for folder in folders} == {tmp_path / "guidestore"}


def test_no_credentials_is_one_sentence_and_nobody_is_asked_for_some(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_METADATA_ENDPOINT", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StorageError, match=r"there are no credentials for s3://codes/a: set AWS_ACCESS_KEY_ID and"):
        storage_at("s3://codes/a")


def test_a_folder_needs_nothing_of_buckets():
    script = "import sys, guidestore.warehouse.catalog\nfrom guidestore.embeddings.opening import storage_at\n"
    script += "storage_at('x')\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"obstore", "pyarrow", "numpy", "ulid"} & set(done.stdout.split())


@pytest.mark.parametrize("open_", [new_storage, opened_storage])
@pytest.mark.parametrize("below", ["", "/store"])
def test_what_is_no_folder_is_named(tmp_path: Path, open_: Callable[[str], object], below: str):
    file, link = tmp_path / "codes.csv", tmp_path / "link"
    file.write_text("case_id\n")
    link.symlink_to(tmp_path / "nowhere")
    for place, what in ((file, "a file, not a folder"), (link, "a link that leads nowhere")):
        with pytest.raises(InvalidInputError, match=f"{place} is {what}"):
            open_(f"{place}{below}")
    assert file.read_text() == "case_id\n"


def test_a_tilde_that_no_shell_replaced_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=r"\$HOME"):
        new_storage("~/store")
    assert not list(tmp_path.iterdir())
