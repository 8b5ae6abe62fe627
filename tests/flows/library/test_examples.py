"""Every public name has a docstring whose example runs: one store, in the order of the page."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import guidestore as gs
from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CodeSetKey, EncoderSpec

ORDER = (
    *(
        "datasets.digits",
        "open",
        "Store",
        "Store.cohorts",
        "Store.code_sets",
        "Store.targets",
        "Store.tag",
        "Store.sql",
    ),
    *(
        "Table",
        "Store.diff",
        "Store.import_codes",
        "Store.add_cohort",
        "Store.encode",
        "Store.add_codes",
        "Store.add_labels",
        "Store.add_split",
        "Store.pair",
        "Data",
        "fit",
    ),
    *("Head", "load", "Store.bags", "Bags", "Store.advise", "Store.guide", "Study", "Plots"),
    *("Store.evaluate", "Store.compare", "Store.predict", "Store.runs", "Store.alias", "Store.sweep"),
    *("Store.neighbours", "Store.export", "Store.export_model", "Store.publish", "datasets.diabetes"),
)
"""What makes things comes before what uses them."""


def add_slides(store: EmbeddingStore) -> None:
    """Bags of three slides."""
    key = CodeSetKey.of("slides", "histology", EncoderSpec("uni2_h", "1", "tiles", 8))
    rng = np.random.default_rng(0)
    with store.begin("slides") as transaction:
        for number, n in enumerate((5, 7, 3)):
            bag = Bag(rng.normal(size=(n, 8)).astype(np.float16), np.zeros((n, 2), np.int32), 0.5, 256, 256)
            transaction.write_bag(key, f"s{number}", f"s{number}", bag, input_digests=[str(number)])


def add_pictures(store: gs.Store, folder: Path) -> None:
    """A photograph each of three cases."""
    rows = ["case_id,modality,path"]
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"c{number},photo,{number}.png")
    (folder / "images.csv").write_text("\n".join(rows))
    store.add_cohort("pictures", images=folder / "images.csv")


def documented() -> Iterator[tuple[str, Any]]:
    """Public names, and what of them is public, but errors and types of the store itself."""
    for name in gs.__all__:
        value = getattr(gs, name)
        if inspect.isclass(value) and (issubclass(value, GuidestoreError) or value is gs.Bag):
            continue
        if inspect.ismodule(value):
            yield from (("datasets.digits", value.digits), ("datasets.diabetes", value.diabetes))
            continue
        yield name, value
        if inspect.isclass(value):
            members = vars(value).items()
            yield from ((f"{name}.{m}", of) for m, of in members if not m.startswith("_") and _is_method(of))


def _is_method(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, property)


def in_order() -> list[tuple[str, Any]]:
    places = {name: place for place, name in enumerate(ORDER)}
    return sorted(documented(), key=lambda item: places.get(item[0], places.get(item[0].partition(".")[0], 99)))


def test_the_examples_run(tmp_path: Path) -> None:
    store = gs.open(tmp_path / "store", create=True)
    known = {"gs": gs, "store": store, "scratch": tmp_path}
    finder, failed = doctest.DocTestFinder(recurse=False), []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    for name, value in in_order():
        if name == "Store.encode":
            add_pictures(store, tmp_path)
        if name == "Store.bags":
            add_slides(store.embeddings)
        for test in finder.find(value, name, globs=known):
            test.globs = known
            told: list[str] = []
            if runner.run(test, out=told.append, clear_globs=False).failed:
                failed.append("".join(told))
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(("name", "value"), [pytest.param(*item, id=item[0]) for item in documented()])
def test_every_public_name_says_what_it_is(name: str, value: Any) -> None:
    text = inspect.getdoc(value.fget if isinstance(value, property) else value) or ""
    assert len(text) > 20, name
