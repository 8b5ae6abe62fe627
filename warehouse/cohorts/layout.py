"""What a layout is, which there are, and how a cohort in any of them comes into the store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pairing import targets_of
from guidestore.embeddings.pixels import Examine
from guidestore.embeddings.plugins import Registry, load_object, one_per_file
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import check_name
from guidestore.warehouse.cohorts.cohort import CohortReport, CohortTables, add_cohort, as_rows, check_pseudonyms
from guidestore.warehouse.cohorts.images import same_images
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms
from guidestore.warehouse.cohorts.reading import Progress, Reading, itself
from guidestore.warehouse.cohorts.splits import keep_standing


class Layout(BaseModel, ABC):
    """How a cohort lies in files.

    Its fields are the options of `guidestore cohort add`, its docstring is what the command says of it. A layout of the
    file `derm7pt_phantom.py` is the class Derm7ptPhantom and the command `cohort add derm7pt-phantom`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def read(self, reading: Reading) -> CohortTables:
        """The tables of the cohort; every image file that is there is hashed by `reading`, what is missing is an issue.

        Raises InvalidInputError naming file, row and column on what cannot be read.
        """


class HidingLayout(Layout):
    """A layout whose issues name cases by `Reading.name_of` alone, so that ids can be hidden."""

    pseudonymize: Path | None = Field(default=None, description="Hash ids with the key in this file (made if missing).")


def slide_mpp_field() -> Any:
    """``slide_mpp`` of a layout whose images may be slides."""
    words = "um per level-0 pixel of the slides of which the tables do not say it; empty: what each file says."
    return Field(default=None, gt=0, description=words)


def _built_in() -> dict[str, str]:
    return {
        name.replace("_", "-"): place for name, place in one_per_file("guidestore.warehouse.cohorts.layouts").items()
    }


LAYOUTS: Registry[type[Layout]] = Registry("cohort layout", "guidestore.layouts", _built_in())


def own_layout(name: str) -> type[Layout]:
    """The layout that ``module:Class`` names, of the working directory too. Raises InvalidInputError."""
    layout = load_object(LAYOUTS.kind, name, here=True)
    if not (isinstance(layout, type) and issubclass(layout, Layout)):
        raise InvalidInputError(
            f"{LAYOUTS.kind} {name!r} is none; make it a guidestore.warehouse.cohorts.layout.Layout"
        )
    return layout


def add_layout(
    store: EmbeddingStore,
    cohort: str,
    layout: Layout,
    progress: Progress | None = None,
    examine: Examine | None = None,
    *,
    supersede: bool = False,
    dry_run: bool = False,
) -> CohortReport:
    """Reads the cohort and commits it, or what is new in it, all or nothing; the same again is a no-op.

    `examine`: see `Reading`; `flows.encoding.cohorts.add_files` gives that of the encoders. supersede, dry_run: as of
    `add_cohort`. Drawn folds that the store has stay as they are. Raises InvalidInputError where files or rows are
    wrong or contradict the store.
    """
    key_file = layout.pseudonymize if isinstance(layout, HidingLayout) else None
    if key_file and dry_run:
        raise InvalidInputError("--dry-run writes nothing, and --pseudonymize writes the key; try it without the key")
    snapshot = store.snapshot()
    cohort = snapshot.first_name(check_name(cohort, "cohort"))
    if isinstance(layout, HidingLayout):  # before ids are looked for, which are others then
        check_pseudonyms(cohort, snapshot.rows("cohorts", cohort=cohort).to_pylist(), hidden=bool(key_file))
    pseudonyms = Pseudonyms.load_or_create(key_file, store) if key_file else None
    name_of = pseudonyms.case if pseudonyms else itself
    cases = frozenset(snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist())
    known = Reading(
        cohort, name_of, lambda case_id: name_of(case_id) in cases, progress, examine, targets_of(snapshot, cohort)
    )
    tables = layout.read(known)
    if pseudonyms:
        tables = pseudonyms.hide(store, tables)
    standing = snapshot.rows("splits", cohort=cohort).to_pylist()
    tables = replace(tables, splits=keep_standing(as_rows(tables.splits), standing))
    report = add_cohort(store, tables, supersede=supersede, dry_run=dry_run)
    rows = [*snapshot.rows("images", cohort=cohort).to_pylist(), *as_rows(tables.images)]
    images = list({(row["case_id"], row["modality"], row["image_id"]): row for row in rows}.values())
    return replace(report, issues=(*report.issues, *same_images(images)))
