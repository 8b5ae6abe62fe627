"""The deployments without a server: forms are the plain settings' but for the store, and no path is among them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]

PROBE = """
import json, sys
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import yaml
from prefect.states import Failed
from pydantic import ValidationError

from guidestore.embeddings.errors import InvalidInputError, StorageError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.engine.running import may_pass, without_paths
from guidestore.flows.serving.choices import Choices, with_choices
from guidestore.flows.serving.serve import DEPLOYMENTS, deployments
from guidestore.flows.serving.sweep import SweepForm
from guidestore.flows.paper.settings import Derm7ptSettings, RadPathSettings
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.work.settings import validated

found = {}
for entry in yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]:
    module, _, name = entry["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), name)
    parameters = flow.validate_parameters(entry.get("parameters", {}))
    found[entry["name"]] = flow.name
    if entry["name"] == "encode":
        given = parameters["settings"].model_dump(include=set(EncodeSettings.model_fields))
        validated(EncodeSettings, **given)
    if entry["name"] == "experiment":
        given = parameters["settings"].model_dump(exclude={"table"})
        validated(RadPathSettings, **given)
        validated(Derm7ptSettings, **given)
served, named = {}, {}
for one in deployments(EmbeddingStore.open(sys.argv[1]).snapshot()):
    schema = one._parameter_openapi_schema.model_dump()
    served[one.name] = {"entrypoint": one.entrypoint, "schema": schema, "parameters": one.parameters}
    if one.name in ("retrain", "sweep"):
        tags = Choices(dict.fromkeys(("snapshot", "at"), ["v1.0+b", "first"]))
        tagged = with_choices(one._parameter_openapi_schema, tags)
        for model in tagged.definitions.values():
            named |= {key: of for key, of in model.get("properties", {}).items() if key in ("snapshot", "at")}
refused = []
for wrong in (
    {"guidance": "os:getcwd"},
    {"decoder": [{"name": "logistic", "C": ["os:getcwd"]}]},
    {"fusion": [{"name": "concatenation", "of": {"object": "os:getcwd"}}]},
    {"students": [{"name": "ridge", "of": [{"os:getcwd": 1}]}]},
    {},
):
    asked = {"cohort": "skin", "inferior": "a/b", "superior": "c/d", "device": "cuda:0", **wrong}
    try:
        SweepForm.model_validate(asked)
    except ValidationError as error:
        refused.append(error.errors()[0]["msg"])
words = without_paths(sys.argv[2])
errors = (OSError("no"), StorageError("no"), InvalidInputError("no"))
tried = {type(error).__name__: may_pass(None, None, Failed(data=error)) for error in errors}
of_errors = {"words": words, "tried": tried, "refused": refused}
print(json.dumps({"yaml": found, "served": served, "names": DEPLOYMENTS, "named": named, **of_errors}))
"""


WITH_PATHS = (
    "there is no guidestore at /data/jane-doe/store: skin/clinical/made, official/0; s3://codes/a: "
    "http://127.0.0.1:9000/x is away, see file:///data/jane-doe, '/data/Jane Doe' or /data/Jane Doe/t 2/x; "
    "/data/jane has neither Radiology/ nor Pathology/"
)


@pytest.fixture(scope="module")
def found(report_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What another process says: Prefect stays out of this one, and of the home folder."""
    home = tmp_path_factory.mktemp("prefect")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(report_store), WITH_PATHS],
        cwd=ROOT,
        env={**_environment(), "PREFECT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}


def test_prefect_yaml_names_the_flows_that_serve_serves(found: dict[str, Any]) -> None:
    assert found["yaml"] == {name: name for name in found["names"]}
    assert {name: one["entrypoint"] for name, one in found["served"].items()} == {
        entry["name"]: entry["entrypoint"]
        for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    }


def fields(found: dict[str, Any], name: str) -> dict[str, Any]:
    forms = found["served"][name]["schema"]["definitions"]
    return next((form["properties"] for title, form in forms.items() if title.endswith("Form")), {})


def test_every_field_is_described_and_none_is_a_path(found: dict[str, Any]) -> None:
    for name in found["served"]:
        for field, facts in fields(found, name).items():
            assert facts.get("description") or name == "sweep", (name, field)
            assert facts.get("format") != "path", (name, field)
            assert field not in ("store", "source", "weights", "key", "ray_address"), (name, field)


def test_drop_downs_list_what_the_store_has(found: dict[str, Any]) -> None:
    retrain = fields(found, "retrain")
    assert retrain["cohort"]["enum"] == ["skin"]
    assert retrain["target"]["enum"] == ["", "DIAG", "PIG"]
    assert retrain["inferior"]["enum"] == ["clinical/made", "dermoscopy/made"]
    assert {"ridge", "radpath-paper"} <= set(retrain["guidance"]["enum"])
    assert fields(found, "sweep")["superior"]["items"]["enum"] == ["clinical/made", "dermoscopy/made"]
    compare = fields(found, "compare")
    assert compare["part"]["enum"] == ["val", "test"]
    assert compare["a"]["enum"] == compare["b"]["enum"]
    (listed,) = (name for name in compare["a"]["enum"] if name.startswith("DIAG by G(I)+I (ridge, logistic) on"))
    assert re.fullmatch(r".* on clinical/made and dermoscopy/made, skin/official: [0-9a-f]{12}", listed)


def test_what_a_snapshot_is_called_is_checked_before_anything_runs(found: dict[str, Any]) -> None:
    asked = fields(found, "retrain")["snapshot"]
    assert asked["pattern"] == "^([0-9]+)?$"
    assert asked["description"].endswith("empty: the newest. It has no names of any yet.")
    named = found["named"]["snapshot"]
    for name, is_one in (("", 1), ("31", 1), ("v1.0+b", 1), ("first", 1), ("v1x0+b", 0), ("v1.00b", 0), ("31a", 0)):
        assert bool(re.search(named["pattern"], name)) is bool(is_one), name
    (text,) = [one for one in found["named"]["at"]["anyOf"] if one.get("type") == "string"]
    assert text["pattern"] == named["pattern"]


def test_defaults_run_on_this_store(found: dict[str, Any]) -> None:
    settings = found["served"]["retrain"]["parameters"]["settings"]
    assert (settings["cohort"], settings["split"]) == ("skin", "official")
    assert (settings["inferior"], settings["superior"]) == ("clinical/made", "dermoscopy/made")
    assert settings["permutations"] == 5
    assert found["served"]["verify"]["parameters"] in (None, {})


def test_no_form_takes_a_name_of_code_wherever_it_stands(found: dict[str, Any]) -> None:
    told = "Value error, 'os:getcwd' names code, which no form runs; use `guidestore guide` or `guidestore sweep`"
    assert found["refused"] == [told] * 4


def test_only_what_may_pass_is_tried_again(found: dict[str, Any]) -> None:
    assert found["tried"] == {"OSError": True, "StorageError": True, "InvalidInputError": False}


def test_messages_name_no_folder(found: dict[str, Any]) -> None:
    assert found["words"] == (
        "there is no guidestore at …: skin/clinical/made, official/0; s3://codes/a: http://127.0.0.1:9000/x is away, "
        "see file:…, '…' or …; … has neither Radiology/ nor Pathology/"
    )
