"""Every path of every command: a URL is read, or refused in one sentence; what file: names is a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import guidestore as gs
from guidestore.flows.cli.app import FILE_OR_URL
from guidestore.flows.cli.main import app
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.work.settings import validated
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from tests.commandline import guidestore

URL = "s3://bucket/folder"
REFUSED = f"is a path of this machine, and {URL} is none; copy or mount what lies there, and give that path"


def paths(command: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Every parameter that is a path: the names of its command, that, and the parameter."""
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from paths(command.get_command(None, name), *names, name)
    else:
        yield from ((names, command, p) for p in command.params if p.type.name in ("path", "file", "directory"))


def test_others_than_those_that_are_read_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = list(paths(get_command(app)))
    by_url = {(" ".join(names), param.name) for names, _, param in every if param.metavar == FILE_OR_URL}
    assert by_url == {
        *(("import", name) for name in ("file", "ids", "slides")),
        *(("predict", name) for name in ("files", "codes")),
        *(("cohort add manifest", name) for name in ("labels", "splits")),
        ("cohort split", "groups"),
    }
    others = [of for of in every if of[2].metavar != FILE_OR_URL]
    assert len(others) > 30
    monkeypatch.chdir(tmp_path)
    for names, command, param in others:
        needed = [p for p in command.params if p.required and p is not param]
        line = [word for p in needed for word in ([p.opts[0]] if p.opts[0].startswith("-") else []) + ["1"]]
        is_option = param.opts[0].startswith("-")
        done = guidestore(*names, *line, *([param.opts[0]] if is_option else []), URL)
        assert f"{param.opts[0] if is_option else param.name.upper()} {REFUSED}" in done.stderr
        assert done.returncode == 2
        assert not list(tmp_path.iterdir())


def test_a_folder_of_another_tool_is_no_url(tmp_path: Path) -> None:
    done = guidestore(
        "import", URL, "--cohort", "c", "--modality", "m", "--layout", "trident", "--store", tmp_path / "s"
    )
    assert f"with which --layout goes, {REFUSED}" in done.stderr


def test_file_urls_are_files(tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_text("case_id,f0\nA,0.5\nB,2.5\n")
    store, codes = (tmp_path / "store").as_uri(), (tmp_path / "a b.csv").as_uri()
    done = guidestore(
        *("import", codes, "--cohort", "c", "--modality", "m", "--encoder", "e", "--store", tmp_path / "store")
    )
    assert done.returncode == 0, done.stderr
    assert gs.open(store).import_codes(codes, "c", "m", "e")["new"] == [0]
    out = gs.open(store).export("c", ["m/e"], "npz", (tmp_path / "out").as_uri())
    assert out == tmp_path / "out"
    assert (out / "m_e.npz").is_file()


def test_in_python_too(tmp_path: Path) -> None:
    store = gs.open(tmp_path / "store", create=True)
    for call, name in (
        (lambda: store.export("c", ["m/e"], "npz", URL), "output"),
        (lambda: store.encode("c", "m", "texture", weights=URL), "`weights`"),
        (lambda: store.add_cohort("c", images=URL), "`images`"),
        (lambda: store.add_cohort("c", Manifest(images=Path(URL))), "whose paths start from its folder,"),
        (lambda: store.sweep(URL), "sweep"),
        (lambda: gs.load(URL), "folder"),
        (lambda: validated(EncodeSettings, cohort="c", modality="m", encoder="e", key=Path(URL)), "--key"),
    ):
        with pytest.raises(gs.InvalidInputError) as caught:
            call()
        assert f"{name} {REFUSED}" in str(caught.value)


def test_paths_of_images_are_of_this_machine(tmp_path: Path) -> None:
    table, image = tmp_path / "images.csv", tmp_path / "a.png"
    image.write_bytes(b"no picture")
    store = gs.open(tmp_path / "store", create=True)
    table.write_text(f"case_id,modality,path\nA,photo,{URL}\n")
    with pytest.raises(gs.InvalidInputError, match=r"row 2, column path: an image is a path of this machine"):
        store.add_cohort("c", images=table)
    table.write_text(f"case_id,modality,path\nA,photo,{image.as_uri()}\n")
    added = store.add_cohort("c", images=table.as_uri(), dry_run=True).rows()
    assert {"what": "images", "added": 1} in added
