"""`guidestore heads`: every model by name, with what it takes."""

from __future__ import annotations

import json

from guidestore.heads.registry import DECODERS_OF, build_guidance, decoder_names, guidance_names
from tests.commandline import guidestore
from tests.embeddings.test_plugins import install, python
from tests.heads.test_plug_ins import ENTRY_POINTS, SOURCE


def test_every_name_is_listed_with_its_defaults_and_a_sentence() -> None:
    assert "\\n" not in guidestore("heads").stdout
    done = guidestore("heads", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    names = {role: {row["name"] for row in rows if row["role"] == role} for role in ("guidance", "decoder", "fusion")}
    assert names["guidance"] == set(guidance_names())
    assert names["decoder"] == set(decoder_names())
    assert {"concatenation", "gated"} <= names["fusion"]
    for kind, registry in DECODERS_OF.items():
        assert {row["name"] for row in rows if row["role"] == f"decoder of {kind}"} == set(registry.names())
    assert all(row["is"].endswith((".", ".)", '".)')) for row in rows), rows
    (network,) = [row for row in rows if (row["role"], row["name"]) == ("guidance", "contrastive")]
    assert f"temperature={build_guidance('contrastive').config['temperature']:g}" in network["parameters"]
    assert "hidden=[256]" in network["parameters"]


def test_those_of_installed_distributions_are_there(tmp_path) -> None:
    install(tmp_path, "theirs", ENTRY_POINTS, "theirs", SOURCE)
    code = """
from guidestore.heads.listing import every_model
print([row for row in every_model() if row["name"] in ("mean", "share")])
"""
    assert python(code, tmp_path) == str(
        [
            {"role": "guidance", "name": "mean", "parameters": "scale=1", "is": "Always the mean of z_S."},
            {"role": "decoder", "name": "share", "parameters": "scale=1", "is": "Always the shares of the classes."},
        ]
    )
