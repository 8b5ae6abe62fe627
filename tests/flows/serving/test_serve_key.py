"""`guidestore serve --key`: pseudonymized cohorts are encoded from the UI, and nothing there names the key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.commandline import guidestore

PROBE = """
import json, logging, os, sys
from contextlib import nullcontext
from guidestore.embeddings.errors import GuidestoreError
from guidestore.flows.serving import encode as deployment, notes
from guidestore.flows.work.reporting import no_progress

lines = []
class Lines(logging.Handler):
    def emit(self, record): lines.append(record.getMessage())
log = logging.getLogger("probe")
log.setLevel("INFO")
log.addHandler(Lines())
deployment.get_run_logger = notes.get_run_logger = lambda: log
deployment.shown = lambda: no_progress
deployment.one_encoder_on = lambda device: nullcontext()  # asks a server
slides = {"modality": "histology", "encoder": "texture", "tile_px": 32, "mpp": 2.0}
form = deployment.EncodeForm(cohort="phantom", **slides)
try:
    deployment.encode_missing.__wrapped__(form)
except GuidestoreError as error:
    refused = str(error)
os.environ["GUIDESTORE_KEY"] = sys.argv[1]
report = deployment.encode_missing.__wrapped__(form)
facts = {"refused": refused, "encoded": report.encoded, "log": lines, "form": form.model_dump(mode="json")}
print(json.dumps(facts))
"""


def _encode(store: Path, home: Path, key: Path) -> dict:
    """What the deployment's step says in a process as `serve` starts one, without a key and with it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "GUIDESTORE"))}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(key)],
        cwd=Path(__file__).parents[3],
        env={**clean, "PREFECT_HOME": str(home), "GUIDESTORE_STORE": str(store), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_key_of_the_server_opens_its_cohorts_and_is_named_nowhere(tmp_path: Path) -> None:
    store, key = tmp_path / "store", tmp_path / "secret-place" / "key"
    generate_phantom(tmp_path / "images", cases=9, seed=3, slide_px=256)
    add_layout(EmbeddingStore.create(store), "phantom", Radpath(source=tmp_path / "images", splits=0, pseudonymize=key))
    done = _encode(store, tmp_path / "home", key)
    assert "is pseudonymized" in done["refused"]
    assert done["encoded"] > 0, done
    assert "secret-place" not in json.dumps(done)


def test_a_key_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    EmbeddingStore.create(tmp_path / "store")
    done = guidestore("serve", "--store", tmp_path / "store", "--key", tmp_path / "none")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no key file" in done.stderr
