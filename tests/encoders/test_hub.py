from __future__ import annotations

import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.hub import fetch_weights, file_sha256, read_weights
from guidestore.encoders.pathology_models import MODELS, PatchModel

CONTENT = save({"a.weight": torch.arange(6.0)})


class Hub(BaseHTTPRequestHandler):
    """Answers for a repository as its name says."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        repo = self.path.split("/")[2]
        if repo == "closing":
            self.close_connection = True
            self.connection.close()
            return
        status = {"gated": 403, "login": 401, "missing": 404, "nofile": 404, "broken": 500}.get(repo, 200)
        self.send_response(status)
        if repo in ("gated", "login"):
            self.send_header("X-Error-Code", "GatedRepo")
        if repo == "nofile":
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"abc"')
        body = CONTENT if status == 200 else b"no"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if repo == "half" else body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """huggingface_hub waits up to 8 s between its tries."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def model_in(repo: str) -> PatchModel:
    return PatchModel("it", "resnet18", 1, f"lab/{repo}", "w.safetensors", "CC-0", True)


def refusal(repo: str, endpoint: str, tmp_path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        fetch_weights(model_in(repo), endpoint, tmp_path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "http" not in sentence
    assert "--weights FILE" in sentence
    return sentence


def test_a_file_is_fetched_once_and_kept(endpoint, tmp_path):
    path = fetch_weights(model_in("good"), endpoint, tmp_path)
    assert path.read_bytes() == CONTENT
    assert read_weights(path)["a.weight"].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(file_sha256(path)) == 64
    # What is in the cache needs no hub.
    assert fetch_weights(model_in("good"), "http://127.0.0.1:9", tmp_path) == path


@pytest.mark.parametrize("repo", ["gated", "login"])
def test_a_gated_model_says_how_to_get_it(endpoint, tmp_path, repo):
    sentence = refusal(repo, endpoint, tmp_path)
    for part in ("CC-0", f"lab/{repo}", "hf auth login", "HF_TOKEN", "accept the licence"):
        assert part in sentence


@pytest.mark.parametrize("repo", ["missing", "nofile"])
def test_what_is_not_there_is_named(endpoint, tmp_path, repo):
    assert f"has no w.safetensors of lab/{repo}" in refusal(repo, endpoint, tmp_path)


@pytest.mark.parametrize("repo", ["closing", "broken"])
def test_a_hub_in_trouble_leaves_the_file_as_a_way(endpoint, tmp_path, repo):
    assert "cannot be reached" in refusal(repo, endpoint, tmp_path)


def test_a_hub_out_of_reach(tmp_path):
    assert "download w.safetensors of lab/good on another machine" in refusal("good", "http://127.0.0.1:9", tmp_path)


def test_offline_mode_is_honoured(endpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot be reached" in refusal("good", endpoint, tmp_path)


def test_a_model_without_a_place_on_the_hub():
    with pytest.raises(InvalidInputError, match="--weights FILE"):
        fetch_weights(PatchModel("it", "resnet18", 1, "", "", "none", False))


class Harm:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file ran')",)


def test_a_file_with_code_is_refused_not_run(tmp_path):
    for name, content in (("harm.pth", {"w": Harm()}), ("plain.pth", Harm())):
        path = tmp_path / name
        torch.save(content, path)
        with pytest.raises(InvalidInputError, match=rf"{name} cannot be read safely .* give a \.safetensors") as caught:
            read_weights(path)
        assert "\n" not in str(caught.value)
    path = tmp_path / "raw.bin"
    path.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(InvalidInputError, match="cannot be read safely"):
        read_weights(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_files_that_are_no_weights(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(InvalidInputError, match="there is no weights file"):
        read_weights(path)
    for content in (b"", b"text", CONTENT[:40]):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match="cannot be read safely"):
            read_weights(path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InvalidInputError, match="holds no tensors"):
        read_weights(tmp_path / "list.pth")


def test_an_old_file_of_torch_is_read(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_weights(tmp_path / "old.pth")["w"].tolist() == [1, 1, 1]


def test_no_row_of_the_registry_lacks_its_place():
    assert all(model.hub_repo and model.hub_file and model.licence for model in MODELS.values())
