"""Encoding and sweeps on a real Ray cluster of two nodes: one is killed in the middle, and nothing is lost.

The drivers are processes of their own, as users have them. Prefect's server is one for the file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.engine.server import running_server, wait_until_ready
from guidestore.flows.sweeps.file import read_sweep
from guidestore.flows.sweeps.run import run_sweep
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.commandline import guidestore
from tests.flows.cluster.ray_nodes import Cluster, Node, running_cluster
from tests.flows.serving.waiting import free_port, until
from tests.report_store import make_store

soon = partial(until, every_s=0.02)
"""A kill must fall into the middle of something short."""

ROOT = Path(__file__).parents[3]
CASES = 12
BAD = "PHANTOM_0005"
TEXTURE = {"modality": "histology", "encoder": "texture", "tile_px": 64, "mpp": 0.5}
GRID = """
cohort: skin
targets: DIAG
inferior: clinical/made
superior: dermoscopy/made
guidance: [ridge, {name: autoencoder, hidden: [[64]], epochs: 60}]
decoder: [{name: mlp, hidden_units: [20, 40]}]
seeds: [0, 1, 2, 3]
permutations: 1
"""


@dataclass
class Place:
    """A cluster, and the environment of those that use it."""

    cluster: Cluster
    environment: dict[str, str]

    @contextmanager
    def driver(self, *arguments: object, seconds: float) -> Iterator[subprocess.Popen[str]]:
        """`guidestore` with batches of so many seconds, on the cluster. It is gone on the way out."""
        code = f"import guidestore.flows.cluster.batches as b; b.BATCH_SECONDS = {seconds}; b.PILOT_UNITS = 1\n"
        code += "from guidestore.flows.cli.main import main; main()"
        given = [*map(str, arguments), "--task-runner", "ray", "--ray-address", self.cluster.address]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *given],
            cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def second_node(self) -> Node:
        """The node beside the head, started if it was killed."""
        last = self.cluster.nodes[-1]
        if len(self.cluster.nodes) == 1 or last.starter.poll() is not None:
            last = self.cluster.add()
            self.cluster.ready()
        return last


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    url = f"http://127.0.0.1:{port}/api"
    prefect = {"PREFECT_HOME": str(home), "PREFECT_API_URL": url, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with running_server("127.0.0.1", port, prefect) as server:
        wait_until_ready(url, server)  # alone: two cores have enough to do with it
        with running_cluster() as cluster:
            cluster.ready()
            secret = {"PREFECT_API_AUTH_STRING": (home / "guidestore-auth").read_text().strip()}
            yield Place(cluster, {**cluster.environment, **prefect, **secret})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom with one slide that is none."""
    folder = tmp_path_factory.mktemp("images")
    generate_phantom(folder, cases=CASES, seed=3)
    (folder / "Pathology" / f"{BAD}.tiff").write_bytes(b"no slide")
    return folder


def bags(root: Path) -> dict[str, tuple[bytes, bytes]]:
    """Case -> its features and coordinates. Each case has one bag."""
    snapshot = EmbeddingStore.open(root).snapshot()
    (key,) = snapshot.code_sets
    entries = snapshot.code_set_entries(key)
    assert len({entry.case_id for entry in entries}) == len(entries)
    found = {}
    for entry in entries:
        (bag,) = snapshot.bags(key, entry.case_id)
        found[entry.case_id] = (bag.features_nd.tobytes(), bag.coords_n2.tobytes())
    return found


@pytest.mark.slow
def test_a_node_killed_while_it_encodes_loses_nothing(place: Place, images: Path, tmp_path: Path) -> None:
    for name in ("alone", "on-ray"):
        add_layout(EmbeddingStore.create(tmp_path / name), "phantom", Radpath(source=images, splits=0))
    report = encode(EmbeddingStore.open(tmp_path / "alone"), EncodeSettings(cohort="phantom", **TEXTURE))
    assert (report.encoded, set(report.failed)) == (CASES - 1, {BAD})

    store, node = EmbeddingStore.open(tmp_path / "on-ray"), place.second_node()
    asked = ("--modality", "histology", "--encoder", "texture", "--tile-px", 64, "--mpp", 0.5)
    with place.driver("encode", "phantom", *asked, "--store", tmp_path / "on-ray", seconds=1.0) as driver:
        soon(lambda: len(store.snapshot().entries(kind="bag")) >= 3 or driver.poll() is not None, "some bags")
        soon(lambda: node.working("encode cases") or driver.poll() is not None, "the second node to work")
        node.kill()
        done = len(store.snapshot().entries(kind="bag"))
        stdout, stderr = driver.communicate(timeout=120)
    assert 0 < done < CASES - 2, "the kill did not fall in the middle"
    assert driver.returncode == 8, stderr  # some cases are in quarantine
    assert f"encoded {CASES - 1}, there already 0, in quarantine 1" in stdout
    assert f"quarantined: {BAD}" in stderr
    assert "Traceback" not in stderr
    assert bags(tmp_path / "on-ray") == bags(tmp_path / "alone")
    (row,) = store.snapshot().rows("quarantine").to_pylist()
    assert row["case_id"] == BAD
    assert fsck(LocalStorage(tmp_path / "on-ray")).clean


def runs(root: Path) -> dict[str, list[str]]:
    """What a sweep leaves, but for the time: table -> its rows, sorted."""
    snapshot, found = EmbeddingStore.open(root).snapshot(), {}
    for kind in ("runs", "metrics", "predictions"):
        rows = snapshot.rows(kind).to_pylist()
        kept = [{name: value for name, value in row.items() if name != "created_at"} for row in rows]
        found[kind] = sorted(json.dumps(row, sort_keys=True, default=str) for row in kept)
    return found


@pytest.mark.slow
def test_a_worker_killed_while_it_trains_heads_loses_nothing(place: Place, tmp_path: Path) -> None:
    make_store(tmp_path, targets=())
    shutil.copytree(tmp_path / "store", tmp_path / "alone")
    (tmp_path / "sweep.yaml").write_text(GRID, encoding="utf-8")
    run_sweep(EmbeddingStore.open(tmp_path / "alone"), read_sweep(tmp_path / "sweep.yaml"))

    store, node = EmbeddingStore.open(tmp_path / "store"), place.second_node()
    killed: list[int] = []

    def kill_worker() -> object:
        for pid in node.working("train heads"):
            os.kill(pid, 9)
            killed.append(pid)
        return killed or driver.poll() is not None

    given = ("sweep", "run", tmp_path / "sweep.yaml", "--store", tmp_path / "store")
    with place.driver(*given, seconds=0.5) as driver:
        soon(kill_worker, "the second node to work")
        trained = store.snapshot().rows("runs").num_rows
        stdout, stderr = driver.communicate(timeout=120)
    assert driver.returncode == 0, stderr
    mine, theirs = runs(tmp_path / "store"), runs(tmp_path / "alone")
    assert killed
    assert trained < len(mine["runs"]), "the kill did not fall in the middle"
    assert f"runs: {len(mine['runs'])} trained, 0 there already" in stdout
    assert mine == theirs
    assert fsck(LocalStorage(tmp_path / "store")).clean


OWN = """
import guidestore.flows.cluster.sweep
from guidestore.flows.cluster.cluster import prepare_ray, ray_cluster
from guidestore.flows.work.runners import Runner

runner = Runner(task_runner="ray")
prepare_ray(runner, "cpu")
with ray_cluster(runner) as ray:
    print("nodes:", len(ray.nodes()))
"""


def test_a_ray_of_this_machines_own_starts() -> None:
    done = subprocess.run([sys.executable, "-c", OWN], capture_output=True, text=True, timeout=120)
    assert "nodes: 1" in done.stdout, done.stderr


def test_what_cannot_work_is_one_sentence(report_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("encode", "skin", "--modality", "clinical", "--store", report_store, "--task-runner", "ray")
    on_ray = (*asked, "--encoder", "colour_texture")
    for options, sentence in (
        ((*on_ray, "--ray-address", "127.0.0.1:1"), "no Ray cluster answers at 127.0.0.1:1"),
        ((*on_ray, "--ray-address", "nowhere"), "Ray address 'nowhere' is none: give host:port"),
        ((*asked, "--encoder", "colour_textur"), "did you mean colour_texture"),
        ((*on_ray, "--device", "cuda"), "device cuda on Ray needs GPUs per task"),
        ((*on_ray, "--gpus-per-task", "1.5"), "gpus per task = 1.5: Ray gives out whole GPUs"),
    ):
        done = guidestore(*options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert sentence in done.stderr
    monkeypatch.setitem(sys.modules, "prefect_ray", None)
    done = guidestore(*on_ray)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "pip install 'guidestore[ray]'" in done.stderr
