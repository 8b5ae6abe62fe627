"""Tables and codes by URL: from a real S3 server, from a real web server, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
    with pytest.raises(gs.InvalidInputError, match=rf"s3://{BUCKET}/in/none.csv is not there"):
        store.import_codes(f"s3://{BUCKET}/in/none.csv", "made", "ct", "mine")


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


def test_what_is_not_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    store = gs.open(tmp_path / "store", create=True)
    with pytest.raises(gs.InvalidInputError, match=r"gs://b/x.csv cannot be read: s3://BUCKET/KEY"):
        read_table("gs://b/x.csv")
    (tmp_path / "images.csv").write_text("case_id,modality,path\nA,mri_t1,s3://b/A.nii.gz\n")
    with pytest.raises(gs.InvalidInputError, match=r"row 2, column path: an image is read from a path of this machine"):
        store.add_cohort("made", images=tmp_path / "images.csv")
    with pytest.raises(gs.InvalidInputError, match="a table of images, whose paths start from its folder"):
        store.add_cohort("made", images=f"file://{tmp_path}/images.csv".replace("file", "https"))


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
