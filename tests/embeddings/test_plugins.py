"""Names of implementations, built in and of distributions that are installed: here such as pip leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.plugins import Registry, load_object, one_per_file

ROOT = Path(__file__).parents[2]
KNOWN = Registry("shape", "", {"square": "collections:OrderedDict", "circle": "not_there:Circle"})


def install(folder: Path, distribution: str, entry_points: str, module: str = "", source: str = "") -> None:
    """A distribution as an installer leaves it in `folder`."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    if module:
        (folder / f"{module}.py").write_text(source)


def python(code: str, folder: Path) -> str:
    """What `code` prints in a process of its own that has `folder` on its path."""
    setup = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(folder)!r}]\n"
    done = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SHAPES = """
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.plugins import Registry
shapes = Registry("shape", "test.shapes", {"square": "collections:OrderedDict"})
def sentence(name):
    try:
        shapes.load(name)
    except InvalidInputError as error:
        return str(error)
"""


def test_built_in_names_are_listed_without_importing_them_and_loaded_when_asked_for():
    assert KNOWN.names() == ("circle", "square")
    assert "square" in KNOWN
    assert "cube" not in KNOWN
    assert ["square"] not in KNOWN  # of a file of others, a name may be anything
    assert KNOWN.load("square").__name__ == "OrderedDict"


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InvalidInputError, match="shape 'sqare' is unknown: did you mean 'square'"):
        KNOWN.load("sqare")
    with pytest.raises(InvalidInputError, match="shape None is unknown"):
        KNOWN.load(None)  # pyright: ignore[reportArgumentType]


def test_an_installed_distribution_brings_a_name_that_is_imported_when_asked_for(tmp_path):
    install(tmp_path, "rounds", "[test.shapes]\noval = rounds:Oval\n", "rounds", "class Oval:\n    corners = 0\n")
    code = SHAPES + 'print(shapes.names(), "rounds" in sys.modules, shapes.load("oval").corners)'
    assert python(code, tmp_path) == "('oval', 'square') False 0"


def test_a_name_that_two_bring_is_nobodys(tmp_path):
    install(tmp_path, "rounds", "[test.shapes]\nsquare = rounds:Oval\n")
    assert python(SHAPES + 'print(sentence("square"))', tmp_path) == (
        "shape 'square' is brought by guidestore and by rounds; rename or uninstall all but one"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [("import not_there", "No module named 'not_there'"), ("", "module 'rounds' has no attribute 'Oval'")],
)
def test_a_plug_in_that_cannot_be_imported_is_told_from_a_wrong_name(tmp_path, source, reason):
    install(tmp_path, "rounds", "[test.shapes]\noval = rounds:Oval\n", "rounds", source)
    assert python(SHAPES + 'print(sentence("oval"))', tmp_path) == (
        f"shape 'oval' of rounds cannot be imported ({reason}); mend or uninstall it"
    )


def test_every_file_of_a_folder_is_an_implementation_of_its_name(tmp_path):
    package = tmp_path / "shapes"
    (package / "common").mkdir(parents=True)
    for file in ("__init__.py", "square.py", "long_oval.py", "_helper.py", "common/__init__.py"):
        (package / file).write_text("raise RuntimeError('imported')" if "." in file and "_" not in file[0] else "")
    code = "from guidestore.embeddings.plugins import one_per_file; print(one_per_file('shapes'))"
    (package / "__init__.py").write_text("")
    assert python(code, tmp_path) == "{'long_oval': 'shapes.long_oval:LongOval', 'square': 'shapes.square:Square'}"
    assert one_per_file("guidestore.not_there") == {}


@pytest.mark.parametrize("name", ["never_imported", "never_imported:", "never_imported: Class", "['never_imported']"])
def test_what_is_not_named_as_an_object_is_not_imported(name: str, tmp_path: Path, monkeypatch) -> None:
    """Forms refuse module:Class wherever it stands; a module alone would run as well."""
    (tmp_path / "never_imported.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInputError, match="is not named module:Class"):
        load_object("object", name)
