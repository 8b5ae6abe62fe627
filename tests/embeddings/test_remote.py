"""Tables and codes by URL: from a real S3 server, from a real web server, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import boto3
import numpy as np
import pytest

import guidestore as gs
from guidestore.embeddings.interchange.codes import read_codes
from guidestore.embeddings.interchange.table import read_table
from tests.s3_server import BUCKET

CODES = "case_id,f0,f1\n007,0.5,1.5\nB,2.5,0.25\n"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a server on loopback shows it."""
    folder = tmp_path / "shown"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_bucket(bucket: str, s3_server: str, tmp_path: Path) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    client.put_object(Bucket=BUCKET, Key="in/some codes.csv", Body=CODES.encode())
    client.put_object(Bucket=BUCKET, Key="in/labels.csv", Body=b"case_id,grade\n007,low\nB,high\n")
    np.save(tmp_path / "codes.npy", np.array([[0.5, 1.5], [2.5, 0.25]], np.float32))
    client.upload_file(str(tmp_path / "codes.npy"), BUCKET, "in/codes.npy")
    client.put_object(Bucket=BUCKET, Key="in/ids.txt", Body=b"007\nB\n")
    store = gs.open(tmp_path / "store", create=True)
    assert store.import_codes(f"s3://{BUCKET}/in/some codes.csv", "made", "mri", "mine")["new"] == [2]
    store.add_cohort("made", labels=f"s3://{BUCKET}/in/labels.csv")
    assert store.sql("SELECT class FROM labels WHERE case_id = '007'")["class"] == ["low"]
    read = read_codes(Path(f"s3://{BUCKET}/in/codes.npy"), ids=Path(f"s3://{BUCKET}/in/ids.txt"))
    assert read.codes.case_ids == ("007", "B")
    with pytest.raises(gs.InvalidInputError, match=rf"s3://{BUCKET}/in/none.csv is no object that is there"):
        store.import_codes(f"s3://{BUCKET}/in/none.csv", "made", "ct", "mine")


def test_keys_of_a_bucket_are_taken_as_they_are(bucket: str, s3_server: str) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    client.put_object(Bucket=BUCKET, Key="odd/a", Body=CODES.replace("0.5", "9.5").encode())
    for key in (
        "staging/codes.csv",
        "odd/a#1",
        "odd/a?b.csv",
        "odd/50%25.csv",
        "odd/..%2f..",
        "odd/ü ü.csv",
        "odd" * 99,
    ):
        client.put_object(Bucket=BUCKET, Key=key, Body=CODES.encode())
        assert read_codes(Path(f"s3://{BUCKET}/{key}")).codes.codes_nd[0, 0] == 0.5, key
    for key in ("odd/../odd/a", "odd/./a", "odd/", "odd//a", ""):
        with pytest.raises(gs.InvalidInputError, match="names no object; write s3://BUCKET/KEY"):
            read_table(f"s3://{BUCKET}/{key}")


def test_the_web_and_this_machine(web: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = web
    (folder / "codes.csv").write_text(CODES)
    for place in (f"{address}/codes.csv", f"{address}/codes.csv?signed=1", f"file://{folder}/codes.csv"):
        assert read_table(place).data["f0"].to_pylist() == read_table(folder / "codes.csv").data["f0"].to_pylist()
        assert read_table(Path(place)).ids() == ("007", "B")  # which has lost a slash
    (folder / "broken.csv").write_text("case_id,f0\nA,\x00\n")
    with pytest.raises(gs.InvalidInputError, match=f"{address}/broken.csv"):
        read_codes(Path(f"{address}/broken.csv"))
    with pytest.raises(gs.InvalidInputError, match=rf"{address}/none.csv cannot be read \(File not found\)"):
        read_table(f"{address}/none.csv")


def test_secrets_of_a_url_are_neither_shown_nor_kept(web: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = web
    (folder / "codes.csv").write_text(CODES)
    (folder / "parts.csv").write_text("case_id,split\n007,train\nB,test\n")
    with pytest.raises(gs.InvalidInputError) as caught:
        read_table(f"{address}/codes.csv?sig=S3CR3T", ["grade"])
    assert str(caught.value).startswith(f"{address}/codes.csv has no column 'grade'")
    for place in (f"{address}/none.csv?sig=S3CR3T", f"{address}/none.csv#S3CR3T", "ftp://me:S3CR3T@b/x.csv"):
        for given in (place, Path(place)):
            with pytest.raises(gs.InvalidInputError, match=r"\.csv cannot be read") as caught:
                read_table(given)
            assert "S3CR3T" not in str(caught.value)
    with pytest.raises(gs.InvalidInputError, match="a user or a password within a URL is not read") as caught:
        read_table(f"{address}/codes.csv".replace("http://", "http://me:S3CR3T@"))
    assert "S3CR3T" not in str(caught.value)
    store = gs.open(tmp_path / "store", create=True)
    store.import_codes(f"{address}/codes.csv?sig=S3CR3T", "made", "mri", "mine")
    store.add_cohort("made", splits=f"{address}/parts.csv?sig=S3CR3T")
    assert store.sql("SELECT DISTINCT origin FROM splits")["origin"] == ["given: parts.csv"]
    assert store.sql("SELECT source FROM cohorts WHERE layout = 'manifest'")["source"] == [f"{address}/parts.csv"]
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file() and b"S3CR3T" in file.read_bytes()]


@pytest.mark.parametrize(
    "to", ["ftp://127.0.0.1:1/codes.csv", "file://me:S3CR3T@etc/passwd?k=S3CR3T", "data:text/csv,f"]
)
def test_the_web_leads_nowhere_else(to: str) -> None:
    class Leads(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", to)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Leads) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(gs.InvalidInputError, match=r"unknown url type: ftp|is not allowed") as caught:
            read_codes(Path(f"http://127.0.0.1:{server.server_port}/codes.csv"))
        assert "S3CR3T" not in str(caught.value)
        server.shutdown()


@pytest.mark.parametrize(
    ("packed", "free", "sentence"),
    [
        ("gzip", 2**40, "sends it compressed, as gzip"),
        ("identity", 100, "longer than 50 bytes, half of the"),
    ],
)
def test_a_body_that_is_packed_or_endless_is_said(
    packed: str, free: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sends(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Encoding", packed)
            self.end_headers()
            with suppress(OSError):
                for _ in range(40):
                    self.wfile.write(CODES.encode() * 1000)

        def log_message(self, format: str, *args: object) -> None: ...

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with ThreadingHTTPServer(("127.0.0.1", 0), Sends) as server:
        server.daemon_threads = False  # their sockets are closed before the test ends
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(gs.InvalidInputError, match=sentence):
            read_codes(Path(f"http://127.0.0.1:{server.server_port}/codes.csv"))
        server.shutdown()


def test_names_that_no_file_here_may_have(web: tuple[Path, str]) -> None:
    folder, address = web
    for name in ("some codes.csv", "Köln.csv", "x" * 240 + ".csv"):
        (folder / name).write_text(CODES)
        assert read_codes(Path(f"{address}/{name}")).codes.case_ids == ("007", "B")
    (folder / "index.html").write_text(CODES)
    for place in (address, f"{address}/", f"{address}/sub/%2e%2e/"):
        (folder / "sub").mkdir(exist_ok=True)
        assert read_codes(Path(place)).codes.case_ids == ("007", "B")


def test_what_is_not_read_is_refused_in_a_sentence() -> None:
    with pytest.raises(gs.InvalidInputError, match=r"a URL of https:// names no host"):
        read_table("https://me:secret@[x/x.csv")
    with pytest.raises(gs.InvalidInputError, match=r"gs://b/x.csv cannot be read: s3://BUCKET/KEY"):
        read_table("gs://b/x.csv")


def test_a_web_server_that_stops_in_the_middle_is_said() -> None:
    class Stops(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CODES)))
            self.end_headers()
            self.wfile.write(CODES[:26].encode())  # whole lines, so that nothing but the length tells

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stops) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/codes.csv"
        with pytest.raises(gs.InvalidInputError, match=r"codes\.csv cannot be read \(it ends after 26 of 37 bytes\)"):
            read_codes(url)
        server.shutdown()
