"""The house as its page shows it: no circle, and the picture of today's imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.draw import PICTURE, picture
from tests.house.imports import circle, floors, imports_of_modules, imports_of_rooms, without_shortcuts

PAGE = Path(__file__).parents[2] / "docs/architecture.md"


@pytest.fixture(scope="module")
def modules() -> dict[str, set[str]]:
    return imports_of_modules()


def test_no_files_import_each_other_in_a_circle(modules: dict[str, set[str]]) -> None:
    assert circle(modules) == []


def test_a_circle_is_named() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_floors_and_shortcuts() -> None:
    rooms = {"cli": {"serving", "work"}, "serving": {"work"}, "work": set[str]()}
    assert floors(rooms) == [["work"], ["serving"], ["cli"]]
    assert without_shortcuts(rooms) == {"cli": {"serving"}, "serving": {"work"}, "work": set()}


def test_the_picture_is_of_today() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "run python -m tests.house.draw"


def test_the_page_names_every_room(modules: dict[str, set[str]]) -> None:
    named = set(re.findall(r"^\| `([\w/]+?)/?` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {room.replace(".", "/") for room in imports_of_rooms(modules)} | {"flows"}
