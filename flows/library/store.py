"""A store in Python: what is in it, what comes into it, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError, unknown_name
from guidestore.embeddings.opening import new_storage, opened_storage
from guidestore.embeddings.places import shown
from guidestore.embeddings.words import count_of
from guidestore.flows.library.arguments import public
from guidestore.flows.library.asking import ask
from guidestore.flows.library.frames import Codes, Frame, Ids, arrow_of, given_codes, ordered_classes
from guidestore.flows.library.tables import Table

if TYPE_CHECKING:
    from guidestore.embeddings.runs import Part
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.encoders.protocol import Encoder
    from guidestore.flows.library.bags import Bags
    from guidestore.flows.library.comparing import Comparison
    from guidestore.flows.library.data import Data
    from guidestore.flows.library.head import Model
    from guidestore.flows.library.study import Study
    from guidestore.flows.work.reporting import Progress
    from guidestore.warehouse.cohorts.cohort import CohortReport
    from guidestore.warehouse.cohorts.layout import Layout

type Place = Path | str
"""A path, or a URL that is read (embeddings.remote)."""
type Metric = Any
"""Its name, ``module:Class``, or a function, class or object of one's own."""

MARGIN = 0.02
"""The smallest gain that counts as one, as of guidestore.heads.significance, which loads numpy."""
_LISTED = 8


@public
def open(place: Place, *, create: bool = False) -> Store:
    """The store at a folder, or at ``s3://BUCKET/PREFIX`` (credentials from the environment, as AWS tools take them).

    create: begin an empty one where there is none. Nothing is read before it is asked for. Raises NotFoundInStoreError
    where there is no store, InvalidInputError for another kind of URL or a store of another revision, StorageError.

    >>> again = gs.open(store.place)
    >>> again.head == store.head
    True
    """
    (new_storage if create else opened_storage)(place)
    return Store(place)


@public
class Store:
    """A store of latent codes, labels, splits and runs. Made by `open`; cheap, and safe beside other processes.

    What it commits is indexed at once; `sql` brings an index up to date that is behind. Arguments of one name mean the
    same everywhere: cohort, either name of it (where '' may stand: all); modality, such as mri_t1 or histology;
    inferior and superior, MODALITY/ENCODER[@DIGEST]; code_set, COHORT/MODALITY/ENCODER[@DIGEST]; target or targets and
    split, where '' or () is the cohort's only one; part, train, val or test; at, a snapshot's number, tag or alias,
    None for the newest; metric, of gains and verdicts; device, where networks run: auto, cpu, cuda, cuda:1, …;
    progress, called with (what, done, total).

    >>> store
    Store ..., snapshot ..., index up to date
      cohorts: digits
      code sets: digits/blurred/pixels@..., digits/full/pixels@...
    """

    def __init__(self, place: Place) -> None:
        self.place = str(place)
        """Folder or URL."""
        self._is_writing = False

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.place,)

    @cached_property
    def embeddings(self) -> EmbeddingStore:
        """The store as the parts of guidestore take it (guidestore.embeddings.store)."""
        from guidestore.embeddings.store import EmbeddingStore

        return EmbeddingStore.open(self.place)

    @property
    def head(self) -> int:
        """Number of the newest snapshot."""
        return self.embeddings.log.refresh()

    def __repr__(self) -> str:
        from guidestore.warehouse.catalog import lag

        behind, snapshot = lag(self.place), self.embeddings.snapshot()
        index = f"index {count_of(behind, 'commit')} behind" if behind else "index up to date"
        firsts = sorted(set(snapshot.rows("cohorts")["cohort"].to_pylist()))
        cohorts = [str(snapshot.display_names.get(name, name)) for name in firsts]
        lines = [f"Store {shown(self.place)}, snapshot {snapshot.version}, {index}"]
        lines.append(f"  cohorts: {_listed(cohorts)}")
        lines.append(f"  code sets: {_listed(list(map(str, snapshot.code_sets)))}")
        return "\n".join(lines)

    # What is there ---------------------------------------------------------------------------------------------------

    def sql(self, query: str, at: int | str | None = None, *, timeout_s: float | None = 60.0) -> Table:
        """What DuckDB answers from the store's index, read-only: any SELECT, or ``FROM code_sets``, ``SHOW TABLES``, …

        at: snapshot number, tag or alias; None: the newest. timeout_s: seconds after which it is stopped; None: never.
        Columns that name cases are shown, when the answer is printed, where the query has their names. Raises
        InvalidInputError on SQL that is wrong or does more than read, NotFoundInStoreError for an unknown snapshot.

        >>> store.sql("SELECT target, count(*) AS cases FROM labels GROUP BY target").rows()
        [{'target': 'digit', 'cases': 1797}]
        """
        if timeout_s is not None and not timeout_s > 0:
            raise InvalidInputError(f"timeout_s is {timeout_s:g}; it must be a number above 0, or None")
        return ask(self.place, query, at, timeout_s=timeout_s, repr_rows=False)

    def cohorts(self, at: int | str | None = None) -> Table:
        """One row per cohort: where it came from, how many cases and images it has.

        >>> store.cohorts()["cases"]
        [1797]
        """
        return ask(self.place, "SELECT * FROM cohorts ORDER BY cohort", at)

    def code_sets(self, cohort: str = "", at: int | str | None = None) -> Table:
        """One row per code set: what made it, how wide it is, what its encoder was trained on. cohort: '' for all.

        Raises NotFoundInStoreError where there is no such cohort.

        >>> store.code_sets("digits")["modality"]
        ['blurred', 'full']
        """
        return ask(self.place, f"SELECT * FROM code_sets {self._of(cohort, at)} ORDER BY name", at)

    def targets(self, cohort: str = "", at: int | str | None = None) -> Table:
        """One row per target: its kind, classes in their order, unit, and how many cases have a label of it.

        >>> store.targets("digits").rows()[0]["labelled"]
        1797
        """
        return ask(
            self.place,
            f"""SELECT cohort, target, kind, unit, list(class ORDER BY class_index) FILTER (class <> '') AS classes,
                (SELECT count(DISTINCT case_id) FROM labels l
                 WHERE (l.cohort, l.target) = (t.cohort, t.target)) AS labelled
            FROM targets t {self._of(cohort, at)} GROUP BY ALL ORDER BY cohort, target""",
            at,
        )

    def runs(self, cohort: str = "", at: int | str | None = None) -> Table:
        """One row per trained and evaluated head, controls too; `sql` with ``FROM metrics`` has their scores.

        >>> store.runs("digits").columns[:1]
        ['run']
        """
        return ask(self.place, f"SELECT * FROM runs {self._of(cohort, at)} ORDER BY ALL", at)

    def _of(self, cohort: str, at: int | str | None) -> str:
        """A condition on the cohort, which both of its names find; '' for none. Raises NotFoundInStoreError."""
        if not cohort:
            return ""
        known = ask(self.place, "SELECT cohort, first_name FROM cohorts", at).rows()
        for row in known:
            if cohort in (row["cohort"], row["first_name"]):
                return f"WHERE cohort = '{row['cohort'].replace(chr(39), chr(39) * 2)}'"
        raise NotFoundInStoreError(str(unknown_name("cohort", cohort, [row["cohort"] for row in known])))

    def tag(self, name: str, at: int | str | None = None) -> int:
        """Gives a snapshot (None: the newest) a fixed name, and returns its number. Raises InvalidInputError where the
        name is taken by another, InvalidNameError, NotFoundInStoreError.

        >>> store.tag("v1") <= store.head
        True
        """
        with self.writing(adds=False):
            return self.embeddings.tag(name, at)

    def diff(self, a: int | str, b: int | str | None = None) -> Table:
        """What snapshot `b` (None: the newest) has and `a` has not, and the other way round, counted.

        Columns: kind, cohort, modality, encoder, added, removed. Rows of labels, splits, predictions, … are counted one
        by one. Raises NotFoundInStoreError, InvalidInputError for one snapshot twice.

        >>> changed = store.diff(0)
        >>> [row["added"] for row in changed.rows() if row["kind"] == "codes"]
        [1797, 1797]
        """
        from guidestore.flows.results.changes import COLUMNS, changes_between

        return Table.of_rows(changes_between(self.embeddings, a, b), COLUMNS)

    # What comes in ---------------------------------------------------------------------------------------------------

    def add_codes(
        self,
        cohort: str,
        modality: str,
        encoder: str,
        codes: Codes,
        ids: Ids | None = None,
        *,
        version: str = "1",
        trained_on: str = "unknown",
        nan: Literal["refuse", "drop-column", "median"] = "refuse",
        replace: bool = False,
    ) -> Table:
        """Commits case codes (n, d), kept as float32, as a code set; a cohort that is not there is begun.

        codes: an array, a tensor, or a table of numeric columns (pandas, polars, Arrow), whose names are kept. ids:
        (n,) case ids; None: the table's column, or index, ``case_id``. version: of the encoder; another makes another
        code set. trained_on: what the encoder was trained on: none (never these cases), unknown, or COHORT/SPLIT/FOLD.
        nan: what becomes of columns that lack values; replace: other values supersede those of the store. The same
        codes again are no-op. Returns a row: code set, codes, new, replaced, snapshot. Raises InvalidInputError where
        the codes are none, hold a target, or contradict the store; InvalidNameError.

        >>> import numpy as np
        >>> ids = [f"case-{i}" for i in range(12)]
        >>> store.add_codes("trial", "mri", "mine", np.random.default_rng(0).normal(size=(12, 4)), ids)["codes"]
        [12]
        """
        from guidestore.embeddings.interchange.codes import CodeColumns, codes_of
        from guidestore.embeddings.types import FoldScope
        from guidestore.flows.encoding.import_codes import add_codes

        what, scope = f"codes of {modality} by {encoder}", FoldScope.parse(trained_on)
        values, names = given_codes(codes, ids, what)
        read = codes_of(values, names, name=what, how=CodeColumns(nan=nan))
        with self.writing():
            report = add_codes(
                self.embeddings,
                read,
                Path(what),
                cohort=cohort,
                modality=modality,
                encoder=encoder,
                version=version,
                trained_on=scope,
                nan=nan,
                supersede=replace,
            )
        row = {"code_set": str(report.code_set), "codes": report.codes, "new": report.new}
        row |= {"replaced": report.replaced, "snapshot": report.snapshot}
        return Table.of_rows([row], notes=report.notes, notes_name_cases=True)

    def add_labels(
        self,
        cohort: str,
        labels: Frame,
        *,
        classes: Mapping[str, Sequence[str | int]] | None = None,
        kinds: Mapping[str, str] | None = None,
        survival: Mapping[str, tuple[str, str]] | None = None,
        events: Mapping[str, Sequence[str | int]] | None = None,
        multilabel: Mapping[str, Sequence[str]] | None = None,
        units: Mapping[str, str] | None = None,
        merge: Mapping[str, Sequence[str | int]] | None = None,
        missing: Sequence[str | int] | None = None,
        drop: Sequence[str] = (),
        id_column: str = "case_id",
        replace: bool = False,
    ) -> Table:
        """Commits labels of cases that the cohort has: a table with the column `id_column` and one for each target.

        An empty cell is an unlabelled case. classes: target -> its classes (grades, labels) in their order; those of an
        ordered category stand in its order, others are sorted. kinds: target -> classes, ordinal, multilabel or value.
        survival: target -> the columns of its time and of its event; events: target -> the words of that which mean it.
        multilabel: target -> columns that say, each of a label, whether a case has it. units: target -> the unit of its
        value or time. merge: target -> words that are one class, named by the first; none: all that are alike. missing:
        words that are no label. drop: columns that are no targets. replace: other labels supersede those of the store.
        Returns a row per kind of what was added; `notes` say what was changed. Raises InvalidInputError naming row and
        column.

        >>> grades = {"case_id": ids, "grade": ["low", "high"] * 6}
        >>> store.add_labels("trial", grades, classes={"grade": ["low", "high"]}).rows()
        [{'what': 'targets', 'added': 1}, {'what': 'classes', 'added': 2}, {'what': 'labels', 'added': 12}]
        """
        from guidestore.embeddings.interchange.table import MISSING
        from guidestore.flows.encoding.cohorts import add_labels
        from guidestore.warehouse.cohorts.label_rules import LabelRules

        table = arrow_of(labels, "labels")
        told = {target: tuple(map(str, names)) for target, names in (classes or {}).items()}
        rules = LabelRules(
            classes={**ordered_classes(table), **told},
            kinds=dict(kinds or {}),
            survival=dict(survival or {}),
            events={target: tuple(map(str, words)) for target, words in (events or {}).items()},
            label_columns={target: tuple(columns) for target, columns in (multilabel or {}).items()},
            units=dict(units or {}),
            merged={target: (tuple(map(str, words)),) * bool(words) for target, words in (merge or {}).items()},
            missing=MISSING if missing is None else tuple(map(str, missing)),
        )
        how = {"drop": tuple(drop), "id_column": id_column, "supersede": replace}
        with self.writing():
            return _added(add_labels(self.embeddings, cohort, table, rules, **how))

    def add_split(
        self,
        cohort: str,
        folds: int = 5,
        *,
        name: str = "",
        target: str = "",
        group: str = "",
        groups: Frame | str | Path | None = None,
        val: float = 0.15,
        seed: int = 0,
    ) -> Table:
        """Draws stratified folds with a seed and commits them: each case is tested once; the same draw is no-op.

        name: of the split; '': ``cvFOLDS``. target: what is stratified by; '': the cohort's only one. group: a column
        of `groups`, a table or file with ``case_id``, or a target: cases of one value stay in one part. val: its share
        of what is not test. Returns what was added.

        >>> store.add_split("trial", folds=2, val=0.34)["added"]
        [1]
        """
        from guidestore.flows.encoding.cohorts import add_split
        from guidestore.flows.encoding.lookups import only_target

        snapshot = self.embeddings.snapshot()
        first = snapshot.first_name(cohort)
        target = target or only_target(snapshot, first)
        of_cases = (
            Path(groups) if isinstance(groups, str | Path) else groups if groups is None else arrow_of(groups, "groups")
        )
        drawn = {"name": name or f"cv{folds}", "folds": folds, "seed": seed, "val_fraction": val}
        drawn |= {"group": group, "groups": of_cases}
        with self.writing():
            return _added(add_split(self.embeddings, first, target, **drawn))

    def add_cohort(
        self,
        cohort: str,
        layout: Layout | str = "manifest",
        *,
        replace: bool = False,
        dry_run: bool = False,
        **files: Any,
    ) -> Table:
        """Commits a cohort, or more of one, from files: cases, images with their digests, labels and splits.

        layout: of `guidestore cohort add --help`, or ``module:Class``, whose fields are `files` (``images=…``,
        ``labels=…``); or an object with ``read(reading)`` of your own (guidestore.warehouse.cohorts.layout.Layout).
        replace: other labels and images supersede those of the store. dry_run: says what would be added. Returns a row
        per kind of what was added; `notes` say what was missing. Raises InvalidInputError naming file, row and column.

        >>> labels = scratch / "labels.csv"
        >>> _ = labels.write_text("case_id,grade\\nA,low\\nB,high\\n")
        >>> store.add_cohort("listed", labels=labels)["added"]
        [1, 2, 2]
        """
        from guidestore.flows.encoding.cohorts import add_files, layout_of

        asked = layout_of(layout, files)
        with self.writing():
            return _added(add_files(self.embeddings, cohort, asked, supersede=replace, dry_run=dry_run))

    def encode(
        self, cohort: str, modality: str, encoder: Encoder | str, *, progress: Progress | None = None, **settings: Any
    ) -> Table:
        """Pushes the images of a modality through an encoder; each case is committed as it finishes, and what has its
        code is not read again.

        encoder: a name (``guidestore encoders``), ``module:Class``, or an object that follows
        guidestore.encoders.protocol.Encoder: its class's code and what it was made with belong to its identity.
        settings: the options of ``guidestore encode`` by their names (``tile_px=224``, ``split="cv5"``,
        ``weights="file.safetensors"``, ``cases=[…]``; flows.encoding.settings). Returns one row: code_sets, encoded,
        existing, quarantined, images_read, device, snapshot; ``FROM quarantine`` has why cases could not be read.
        Raises GuidestoreError for what concerns all cases.

        >>> store.encode("pictures", "photo", "colour_texture")["encoded"]
        [3]
        """
        from guidestore.encoders.own import check_encoder
        from guidestore.flows.encoding.encode import encode
        from guidestore.flows.encoding.settings import EncodeSettings
        from guidestore.flows.work.reporting import no_progress
        from guidestore.flows.work.settings import validated

        given = None if isinstance(encoder, str) else check_encoder(encoder)
        name = encoder if isinstance(encoder, str) else encoder.spec.name
        asked = validated(EncodeSettings, cohort=cohort, modality=modality, encoder=name, **settings)
        with self.writing():
            report = encode(self.embeddings, asked, progress or no_progress, encoder=given)
        row = {"code_sets": list(map(str, report.code_sets)), "encoded": report.encoded, "existing": report.existing}
        row |= {"quarantined": len(report.failed), "images_read": report.images_read, "device": report.device}
        return Table.of_rows([{**row, "snapshot": report.snapshot}], notes=report.notes, notes_name_cases=True)

    def import_codes(
        self,
        file: Place,
        cohort: str = "",
        modality: str = "",
        encoder: str = "",
        *,
        version: str = "1",
        trained_on: str = "unknown",
        ids: Place | None = None,
        id_column: str = "",
        columns: Sequence[str] = (),
        drop: Sequence[str] = (),
        missing: Sequence[str] | None = None,
        nan: Literal["refuse", "drop-column", "median"] = "refuse",
        replace: bool = False,
        progress: Progress | None = None,
        **folder: Any,
    ) -> Table:
        """Commits codes that lie in files, as ``guidestore import`` does: a table (CSV, Excel, Parquet, npz, npy with
        `ids`), a folder of another tool (TRIDENT, CLAM, STAMP, …; docs/peers.md), or one that `publish` wrote, which
        says itself what it holds.

        file: the table or folder; cohort, modality, encoder: '' where it says them itself. version, trained_on, nan,
        replace: as of `add_codes`. id_column: of the ids; '': case_id. missing: words that mean no value; None: NA,
        nan, NULL and the like. columns, drop: names or patterns of a table's columns. folder: options of a folder by
        their names (``layout=…``, ``slides=…``; flows.encoding.import_settings). Returns a row per code set: code_set,
        codes, new; of a folder also failed, slides that could not be read. Raises InvalidInputError, InvalidNameError.

        >>> table = scratch / "codes.csv"
        >>> _ = table.write_text("case_id,f0,f1\\nA,0.5,1.5\\nB,2.5,0.25\\n")
        >>> store.import_codes(table, "listed", "mri", "mine")["new"]
        [2]
        """
        from guidestore.embeddings.types import FoldScope
        from guidestore.flows.encoding.import_any import ImportAsked, import_any
        from guidestore.flows.encoding.import_settings import FolderSettings
        from guidestore.flows.library.imported import notes_of, rows_of
        from guidestore.flows.work.reporting import no_progress
        from guidestore.flows.work.settings import validated

        asked = ImportAsked(
            file=Path(file),
            cohort=cohort,
            modality=modality,
            encoder=encoder,
            version=version,
            trained_on=FoldScope.parse(trained_on),
            ids=None if ids is None else Path(ids),
            id_column=id_column,
            columns=columns,
            drop=drop,
            missing=missing,
            nan=nan,
            replace=replace,
            folder=validated(FolderSettings, **folder),
        )
        asked.check()
        with self.writing():
            done = import_any(self.embeddings, asked, progress or no_progress)
        return Table.of_rows(rows_of(done), notes=notes_of(done), notes_name_cases=True)

    # What goes out ---------------------------------------------------------------------------------------------------

    def export(
        self,
        cohort: str,
        code_sets: Sequence[str],
        layout: str,
        output: Path | str,
        *,
        split: str = "",
        target: str = "",
        stamp_version: str = "2.0.0",
        at: int | str | None = None,
    ) -> Path:
        """Writes codes as a new folder of files of another tool, and returns it.

        code_sets: MODALITY/ENCODER[@DIGEST], one of bags at most. layout: clam, deepguide, eva, lazyslide, npz,
        parquet, patho-bench, stamp or trident (docs/peers.md). output: the folder. stamp_version: what STAMP's files
        name. Raises InvalidInputError where the folder is there or the layout cannot hold it, FoldLeakageError,
        NotFoundInStoreError.

        >>> sorted(file.name for file in store.export("digits", "blurred/pixels", "npz", scratch / "out").iterdir())
        ['blurred_pixels.npz', 'labels.csv', 'splits.csv']
        """
        from guidestore.flows.encoding.export_codes import export_codes

        newest = self.embeddings.snapshot()
        exported = export_codes(
            self.embeddings.snapshot(at),
            Path(output),
            cohort=newest.first_name(cohort),
            code_sets=list(code_sets),
            layout=layout,
            split=split,
            target=target,
            stamp_version=stamp_version,
        )
        return exported.folder

    def export_model(self, run: str, output: Path | str, *, allow_train_codes: bool = False) -> Path:
        """Writes a run's encoder, G and D_c as one new folder (ONNX, safetensors, a card) that predicts without the
        store, and returns it. run: an alias, or 8 digits or more of its id. output: the folder. allow_train_codes: also
        models whose weights hold codes of train cases. Raises InvalidInputError, NotFoundInStoreError.

        >>> store.export_model("champion", scratch)
        Traceback (most recent call last):
        guidestore.embeddings.errors.InvalidInputError: ... is there already; name a new folder, or remove it first
        """
        from guidestore.flows.models.export import export_model

        with self.writing(adds=False):
            return export_model(self.embeddings, run, output, allow_train_codes=allow_train_codes).folder

    def publish(
        self,
        output: Path | str,
        at: int | str | None = None,
        *,
        cohorts: Sequence[str] = (),
        licence: str = "",
        url: str = "",
        creator: str = "",
        with_pseudonymized: bool = False,
    ) -> Path:
        """Writes codes, labels and splits as a data set (Parquet, a card, Croissant with lineage), and returns its new
        folder; weights, runs, predictions and paths of images stay. `import_codes` takes it back.

        output: the folder. cohorts: () for all. licence: an SPDX id or an address. url, creator: of the data set, for
        its card. with_pseudonymized: pseudonymized cohorts too. Raises NotFoundInStoreError, InvalidInputError.

        >>> (store.publish(scratch / "published", cohorts=["digits"], licence="CC-BY-4.0") / "README.md").is_file()
        True
        """
        from guidestore.flows.encoding.publish import publish

        newest = self.embeddings.snapshot()
        told = {"licence": licence, "url": url, "creator": creator, "with_pseudonymized": with_pseudonymized}
        chosen = tuple(newest.first_name(name) for name in cohorts)
        return publish(self.embeddings.snapshot(at), Path(output), cohorts=chosen, **told).folder

    # What is asked of it ----------------------------------------------------------------------------------------------

    def pair(
        self,
        cohort: str,
        inferior: str,
        superior: str,
        *,
        target: str = "",
        split: str = "",
        fold: int = 0,
        at: int | str | None = None,
    ) -> Data:
        """The training set of one split and fold: codes of both code sets, labels and parts, joined by case.

        inferior, superior: MODALITY/ENCODER[@DIGEST]. target, split: '' for the cohort's only one. at: a snapshot;
        None: the newest. Raises FoldLeakageError where an encoder was trained on another fold, NotFoundInStoreError,
        AmbiguousNameError, InvalidInputError.

        >>> data = store.pair("digits", "blurred/pixels", "full/pixels", target="digit", split="cv5", fold=0)
        >>> len(data)
        1797
        """
        from guidestore.embeddings.outcomes import KINDS
        from guidestore.embeddings.pairing import pair
        from guidestore.flows.encoding.lookups import only_split, only_target
        from guidestore.flows.library.data import Data, column_names

        snapshot = self.embeddings.snapshot(at)
        first = self.embeddings.snapshot().first_name(cohort)
        paired = pair(
            snapshot,
            cohort=first,
            target=target or only_target(snapshot, first),
            inferior=inferior,
            superior=superior,
            split=split or only_split(snapshot, first),
            fold=fold,
            kinds=KINDS,
        )
        return Data(paired, *(column_names(snapshot, key) for key in (paired.inferior_key, paired.superior_key)))

    def bags(self, code_set: str, at: int | str | None = None) -> Bags:
        """The bags of a code set, COHORT/MODALITY/ENCODER[@DIGEST], read one by one as they are asked for.

        Raises NotFoundInStoreError, AmbiguousNameError, InvalidInputError where the set holds case codes.

        >>> len(store.bags("slides/histology/uni2_h"))
        3
        """
        from guidestore.flows.library.bags import Bags

        return Bags(self.embeddings.snapshot(at), code_set)

    def guide(
        self,
        cohort: str,
        *,
        inferior: str,
        superior: str,
        guidance: Model | Sequence[Model] = "autoencoder",
        decoder: Model | Sequence[Model] = "mlp",
        targets: Sequence[str] = (),
        split: str = "",
        folds: Sequence[int] = (),
        seeds: Sequence[int] = (0,),
        modes: Sequence[str] = ("matched",),
        permutations: int = 5,
        metric: Metric = "",
        smallest_effect: float = MARGIN,
        device: str = "auto",
        progress: Progress | None = None,
    ) -> Study:
        """Trains and commits what the store lacks of the input rows, their references and their controls, for every G
        and D_c that is named, and judges the gains. The same again trains nothing. One look at test is counted.

        guidance, decoder: as of `fit`, or lists of them. targets, split, folds: () and '' for the cohort's only target,
        its only split, all folds. seeds: a head each. modes: matched (one kind of decoder in all rows), as-published
        (D_I and D_S as trained encoders left them). permutations: draws of each random control per fold and seed.
        metric: of gains and verdicts, by its name, or one of your own: ``module:Class``, or a function, class or object
        that is called with y and said (guidestore.heads.metrics.own); '': AUROC, or balanced accuracy where a test set
        lacks a class. smallest_effect: the smallest gain that counts as one, in that metric. progress: called with
        (what, done, total). Raises GuidestoreError: unknown names, leakage between folds, too few cases.

        >>> study = store.guide("digits", inferior="blurred/pixels", superior="full/pixels", guidance="ridge",
        ...                     decoder="least_squares", folds=[0], permutations=1)
        >>> study
        Study digits: blurred/pixels guided by full/pixels, test cases
          digit, G(I) (ridge, least_squares): ...
          digit, G(I)+I (ridge, least_squares): ...
        """
        from guidestore.flows.library.study import guide_all

        asked: dict[str, Any] = {"cohort": cohort, "inferior": inferior, "superior": superior, "split": split}
        asked |= {"targets": targets, "folds": folds, "seeds": seeds, "modes": modes}
        asked |= {"permutations": permutations, "device": device}
        with self.writing():
            return guide_all(self.embeddings, asked, guidance, decoder, metric, smallest_effect, progress)

    def evaluate(
        self,
        cohort: str,
        *,
        target: str = "",
        split: str = "",
        inferior: str = "",
        superior: str = "",
        mode: str = "",
        guidance: str = "",
        decoder: str = "",
        part: Part = "test",
        metric: Metric = "",
        smallest_effect: float = MARGIN,
        at: int | str | None = None,
    ) -> Study:
        """The study of stored runs, the newest of each head; trains nothing. A look at test is counted, unless the same
        runs were looked at before. Raises NotFoundInStoreError where there is none.

        target, split, inferior, superior, mode, guidance, decoder: '' for all that there are. smallest_effect: as of
        `guide`.

        >>> store.evaluate("digits", guidance="ridge").effects()["row"]
        ['G(I)', 'G(I)+I']
        """
        from guidestore.flows.library.study import Study
        from guidestore.flows.results.selection import RunSelection

        first = self.embeddings.snapshot().first_name(cohort)
        selection = RunSelection(first, target, split, inferior, superior, mode, guidance, decoder)
        with self.writing(adds=False):
            return Study.of_selection(self.embeddings, selection, cohort, part, metric, smallest_effect, at)

    def compare(
        self,
        a: int | str,
        b: int | str,
        *,
        part: Part | None = None,
        at: int | str | None = None,
        pooled: bool = False,
    ) -> Comparison:
        """How much better `b` is than `a` on the same cases, from stored predictions alone, and how sure that is.

        Two runs (aliases, or 8 digits or more of ids), sweeps (names or YAML files), or snapshots (numbers or tags).
        part: None for val of sweeps and test of others, a look at which is counted. at: snapshot of the runs. pooled:
        each run stands for its head, over all folds and seeds, as sweeps and snapshots do anyway. Raises
        NotFoundInStoreError, InvalidInputError where they have no cases or no task in common.

        >>> runs = store.sql("SELECT run FROM runs WHERE fold = 0 AND control = '' AND row IN ('I', 'S') ORDER BY row")
        >>> store.compare(*runs["run"]).table()["metric"]
        ['balanced_accuracy', 'f1_micro', 'auroc']
        """
        from guidestore.flows.library.comparing import Comparison
        from guidestore.flows.sweeps.comparing import compare_named

        with self.writing(adds=False):
            return Comparison(compare_named(self.embeddings, str(a), str(b), part=part, at=at, pooled=pooled))

    def predict(
        self,
        run: str = "champion",
        *,
        images: Sequence[Place] = (),
        codes: Codes | None = None,
        ids: Ids | None = None,
        encoder: str = "",
        cases: Sequence[str] = (),
        mpp: float | None = None,
        trust_geometry: bool = False,
        weights: Path | str | None = None,
        device: str = "auto",
    ) -> Table:
        """Class probabilities of new cases by the stored weights of a run (alias, or 8 digits or more of its id), from
        the inferior modality alone: a row per case with case_id, predicted, and p(CLASS) for each class. Of other kinds
        of target a value with its interval, a risk and the share that outlives each time, or p(LABEL).

        One source: images (NIfTI files, case folders, slides, photographs); codes (n, d) with their ids, or a file of
        them, made by `encoder` (NAME or NAME@DIGEST, that of the run), of whose columns those that were stored are
        taken by name; or cases, ids of the store. mpp: um per level-0 pixel of slides that do not say it. weights: file
        of a pretrained encoder; None: the model hub. trust_geometry: as of ``guidestore encode``. Raises
        InvalidInputError on another modality, encoder, width or column, and for a run that needs the superior image;
        NotFoundInStoreError.

        >>> run = store.sql("SELECT run FROM runs WHERE row = 'G(I)+I' AND control = '' LIMIT 1")["run"][0]
        >>> store.predict(run, cases=["digit-0003"]).columns[:3]
        ['case_id', 'predicted', 'p(0)']
        """
        from guidestore.embeddings.interchange.codes import codes_of
        from guidestore.flows.models.predict import predict

        if isinstance(codes, str | Path):
            codes = Path(codes).expanduser()
        elif codes is not None:
            values, names = given_codes(codes, ids, "codes")
            codes = lambda how: codes_of(values, names, name="codes", how=how)  # noqa: E731
        with self.writing(adds=False):
            prediction = predict(
                self.embeddings,
                run,
                files=[Path(image) for image in images],
                codes=codes,
                cases=cases,
                encoder=encoder,
                mpp=mpp,
                trust_geometry=trust_geometry,
                device=device,
                weights=weights if weights is None else Path(weights),
            )
        return Table.of_rows(prediction.as_rows(), asked=["case_id"], notes=prediction.notes)

    def advise(
        self,
        cohort: str,
        *,
        inferior: str,
        superior: str,
        targets: Sequence[str] = (),
        split: str = "",
        folds: Sequence[int] = (),
        labelled: int | None = None,
    ) -> Table:
        """Trains nothing: foretells from train cases which guided row gains, how much over its nearest control, and
        whether the test cases could show it. A row per target: the facts, `advice` in sentences, and `command`.

        labelled: what would so many labels give? Raises GuidestoreError.

        >>> advice = store.advise("digits", inferior="blurred/pixels", superior="full/pixels", folds=[0])
        >>> advice["target"], advice["folds"]
        (['digit'], [1])
        """
        from guidestore.flows.guiding.advise import advise
        from guidestore.flows.guiding.settings import GuideSettings
        from guidestore.flows.work.naming import with_first_name
        from guidestore.flows.work.settings import validated

        asked: dict[str, Any] = {"cohort": cohort, "inferior": inferior, "superior": superior, "split": split}
        asked |= {"targets": targets, "folds": folds}
        settings = with_first_name(self.embeddings, validated(GuideSettings, **asked))
        return Table.of_rows(advise(self.embeddings.snapshot(), settings, labelled=labelled))

    def sweep(
        self,
        sweep: Path | str | Mapping[str, Any],
        *,
        test: int = 0,
        metric: Metric = "",
        device: str = "auto",
        progress: Progress | None = None,
    ) -> Table:
        """Trains and commits what the store lacks of a grid of heads, and ranks the guided ones on val, target by
        target: a row each with scores and gains, as ``guidestore sweep show``.

        sweep: a YAML file, or its fields as a mapping (docs/sweeps.md), in which guidance, decoder and fusion may be
        classes and objects of your own. test: score so many of the best of each target on test, a look that is counted.
        metric: what to rank by, as of `guide`. Raises GuidestoreError.

        >>> grid = {"name": "tried", "cohort": "digits", "inferior": "blurred/pixels", "superior": "full/pixels",
        ...         "folds": 0, "guidance": ["ridge"], "decoder": ["least_squares"], "permutations": 1}
        >>> store.sweep(grid)["row"]
        ['G(I)', 'G(I)+I']
        """
        from guidestore.flows.library.sweeps import sweep_of
        from guidestore.flows.sweeps.ranking import rank_sweep
        from guidestore.flows.sweeps.run import run_sweep
        from guidestore.flows.work.reporting import no_progress

        grid = sweep_of(sweep)
        with self.writing():
            report = run_sweep(self.embeddings, grid, progress or no_progress, device=device)
            ranked = rank_sweep(self.embeddings, grid, metric=metric, chosen=test, progress=progress or no_progress)
        return Table.of_rows([of_head.as_row() for of_head in ranked], notes=report.notes)

    def neighbours(
        self,
        case: str,
        code_set: str,
        k: int = 10,
        *,
        metric: Literal["cosine", "euclidean"] = "cosine",
        targets: Sequence[str] = (),
        exact: bool = False,
        at: int | str | None = None,
    ) -> Table:
        """The k cases most like a case by their codes, the nearest first, with their labels of `targets` (() for all).

        code_set: COHORT/MODALITY/ENCODER[@DIGEST]. metric: what near means. exact: compare all codes of a set of more
        than 200,000 too, without an index. Raises NotFoundInStoreError, InvalidInputError.

        >>> len(store.neighbours("digit-0003", "digits/full/pixels", k=5))
        5
        """
        from guidestore.flows.results.neighbours import neighbours

        notes: list[str] = []
        asked = {"k": k, "metric": metric, "targets": tuple(targets), "exact": exact, "at": at}
        with self.writing():
            found = neighbours(self.embeddings, case, code_set, note=notes.append, **asked)
        return Table.of_rows(found.rows, found.columns, asked=["case_id"], notes=[*notes, *found.notes])

    def alias(self, name: str, run: str) -> str:
        """Points a movable name, such as champion, at a run (another alias, or 8 digits or more of its id), whose id it
        returns. Raises NotFoundInStoreError, InvalidNameError.

        >>> run = store.sql("SELECT run FROM runs WHERE row = 'G(I)+I' AND control = '' LIMIT 1")["run"][0]
        >>> store.alias("champion", run) == run
        True
        """
        with self.writing():
            entry = self.embeddings.find_run(run)
            self.embeddings.move_alias(name, artifact=entry.artifact)
        return entry.artifact

    @contextmanager
    def writing(self, *, adds: bool = True) -> Iterator[None]:
        """Indexes what the outermost of these blocks commits. adds: False where it commits nothing that SQL shows."""
        from guidestore.flows.work.stores import indexing

        if self._is_writing:
            yield
            return
        self._is_writing = True
        try:
            with indexing(self.embeddings, adds=adds):
                yield
        finally:
            self._is_writing = False


def _listed(names: Sequence[str]) -> str:
    more = f", … ({len(names)})" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more if names else "none yet"


def _added(report: CohortReport) -> Table:
    counts = {**report.added, "targets": report.targets, "classes": report.classes, "splits": report.splits}
    order = dict.fromkeys(("cohorts", "targets", "classes", *counts))
    rows = [{"what": kind, "added": counts[kind]} for kind in order if counts.get(kind)]
    notes = [f"{kind} changed: {'; '.join(changes)}" for kind, changes in report.changed.items()]
    notes += [f"{what} of {count_of(count, 'image')} changed" for what, count in report.images_changed.items()]
    notes += [issue.sentence for issue in report.issues]
    return Table.of_rows(rows, ("what", "added"), notes=notes, notes_name_cases=True)
