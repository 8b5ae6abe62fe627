"""What guidance gained: trained or stored runs, their tables, verdicts, figures and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.runs import Part, Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.library.arguments import public
from guidestore.flows.library.asking import ask
from guidestore.flows.library.head import Model
from guidestore.flows.library.plots import Plots
from guidestore.flows.library.tables import Table
from guidestore.flows.results.effects import spread
from guidestore.flows.results.evaluation import Evaluation, evaluation_of, judging_metric
from guidestore.flows.results.looks import count_look
from guidestore.flows.results.own_scores import keep_scores
from guidestore.flows.results.selection import RunSelection
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.flows.work.settings import validated
from guidestore.heads.registry import decoder_choice, guidance_choice
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs, load_scores


@public
class Study:
    """Runs of a cohort with what they show on one part. Made by `Store.guide` and `Store.evaluate`.

    Printed, it is the verdict on each guided row; `table`, `effects` and `plot` have the figures behind it.

    >>> study.verdicts
    {'digit, G(I) (ridge, least_squares)': ..., 'digit, G(I)+I (ridge, least_squares)': ...}
    """

    def __init__(
        self,
        store: EmbeddingStore,
        selection: RunSelection,
        ids: Sequence[str],
        title: str,
        part: Part = "test",
        metric: str = "",
        smallest_effect: float = 0.0,
        at: int | str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """ids: of the runs."""
        self._store, self._selection, self._at = store, selection, at
        self.title, self.part, self.metric, self.smallest_effect = title, part, metric, smallest_effect
        snapshot = store.snapshot(at)
        self._runs: list[Run] = load_runs(snapshot, ids)
        self._scores = load_scores(snapshot, self._runs, part)
        self._predictions = load_predictions(snapshot, self._runs, part)
        self._notes = tuple(dict.fromkeys((*notes, *notes_on(snapshot, self._runs))))
        keep_scores(store, self._runs, self._scores, self._predictions, metric, part)

    @classmethod
    def of_selection(
        cls,
        store: EmbeddingStore,
        selection: RunSelection,
        cohort: str,
        part: Part,
        metric: Any,
        smallest_effect: float,
        at: int | str | None,
    ) -> Study:
        """Of the newest stored runs that are selected; a look at test is counted. metric, smallest_effect: as of
        `Store.guide`. Raises NotFoundInStoreError, InvalidInputError.

        store: the store's parts. selection: which runs. cohort: as it is shown."""
        from guidestore.flows.results.stored import selected_runs

        metric = judging_metric(metric, smallest_effect)
        runs = selected_runs(store.snapshot(at), selection, part)
        refused = count_look(store, runs, "evaluate") if part == "test" else ""
        title = f"{cohort}, {part} cases"
        notes = [refused] if refused else []
        return cls(store, selection, [run.id for run in runs], title, part, metric, smallest_effect, at, notes)

    @cached_property
    def _evaluation(self) -> Evaluation:
        return evaluation_of(
            self._runs, self._scores, self._predictions, metric=self.metric, margin=self.smallest_effect
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know, in sentences."""
        return tuple(dict.fromkeys((*self._notes, *self._evaluation.notes)))

    @property
    def verdicts(self) -> dict[str, str]:
        """Guided head -> verdict, such as guidance helps, capacity, not guidance, no effect or cannot tell."""
        return {f"{of.head.target}, {of.head.name}": of.verdict for of in self._evaluation.effects}

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        lines = [f"Study {self.title}"]
        for of in self._evaluation.effects:
            gain = f" ({of.metric} over I {spread(of.effect.gain_over_i)})" if of.effect else ""
            lines.append(f"  {of.head.target}, {of.head.name}: {of.verdict}{gain}")
        return "\n".join(lines if len(lines) > 1 else [*lines, "  no guided row"])

    def _repr_html_(self) -> str:
        return self._summary()._repr_html_()

    def _summary(self) -> Table:
        rows = [
            {
                "target": of.head.target,
                "head": of.head.name,
                "verdict": of.verdict,
                f"{of.metric} over I": spread(of.effect.gain_over_i) if of.effect else "–",
                "nearest control": spread(of.effect.nearest_control.over)
                if of.effect and of.effect.nearest_control
                else "–",
            }
            for of in self._evaluation.effects
        ]
        return Table.of_rows(rows, notes=[self.title, *self.notes])

    def table(self) -> Table:
        """A row per input row and control of each block (target, mode, split, code sets, budget, G, D_c): mean and sd
        of every metric over folds and seeds, n runs, and of guided rows the gains with 95 % intervals and the verdict.

        >>> sorted(set(study.table()["row"]))
        ['G(I)', 'G(I)+I', 'I', 'R(I)', 'S', 'S+I']
        """
        return Table.of_rows(self._evaluation.as_rows(), notes=self.notes)

    def effects(self) -> Table:
        """A row per guided head: its gains over I, references and controls, each from …_low to …_high (95 %), p after
        Holm over all of them, and the verdict.

        >>> study.effects()["metric"]
        ['auroc', 'auroc']
        """
        family = self._evaluation.family.p_values
        rows = [{**of.as_row(), "p_holm": family.get(of.head)} for of in self._evaluation.effects]
        return Table.of_rows(rows, notes=self.notes)

    @property
    def runs(self) -> Table:
        """A row per run, as ``FROM runs`` has them.

        >>> len(study.runs) == len(study)
        True
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        every = ask(self._store.storage.url, "SELECT * FROM runs ORDER BY ALL", self._at).arrow()
        own = pa.array([run.id for run in self._runs])
        return Table(every.filter(pc.field("run").isin(own)))  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def plot(self) -> Plots:
        """Figures of matplotlib: bars, gains, calibration, confusion.

        >>> study.plot.gains().savefig(scratch / "gains.svg")
        """
        return Plots(self._runs, self._scores, self._predictions, self._evaluation.effects, self.metric)

    def report(self, out: Path | str = "report.html") -> Path:
        """Writes one HTML file, `out`, about these runs, which needs no network. A look at test is counted, unless the
        same runs were looked at before. Raises InvalidInputError where it cannot be written, or the study is of val.

        >>> study.report("nowhere/report.html")
        Traceback (most recent call last):
        guidestore.embeddings.errors.InvalidInputError: there is no folder nowhere ...
        """
        from guidestore.embeddings.errors import InvalidInputError
        from guidestore.flows.report import write_report
        from guidestore.flows.work.stores import indexing

        if self.part != "test":
            raise InvalidInputError("a report is about test, and this study is of val; evaluate part='test' first")
        store = self._store
        with indexing(store, adds=False):
            written = write_report(
                store,
                self._selection,
                Path(out),
                at=self._at,
                only=[run.id for run in self._runs],
                metric=self.metric,
                margin=self.smallest_effect,
            )
        return written.file


def guide_all(
    store: EmbeddingStore,
    asked: Mapping[str, Any],
    guidance: Model | Sequence[Model],
    decoder: Model | Sequence[Model],
    metric: Any,
    smallest_effect: float,
    progress: Progress | None,
) -> Study:
    """Trains what the store lacks of every G with every D_c; one look at test. Raises GuidestoreError.

    asked: other fields of GuideSettings."""
    metric = judging_metric(metric, smallest_effect)
    first = with_first_name(store, validated(GuideSettings, **asked))
    # Once for all: code that cannot be digested is another choice each time.
    guidances = [guidance_choice(given) for given in _listed(guidance)]
    decoders = [decoder_choice(given) for given in _listed(decoder)]
    ids: list[str] = []
    notes: list[str] = []
    for of_guidance in guidances:
        for of_decoder in decoders:
            report = guide(store, first, progress or no_progress, looks=False, guidance=of_guidance, decoder=of_decoder)
            ids += report.runs
            notes += report.notes
    ids = list(dict.fromkeys(ids))
    if not ids:
        raise NotFoundInStoreError("no guidance and no decoder was named; name one of each")
    if refused := count_look(store, load_runs(store.snapshot(), ids), "guide"):
        notes.append(refused)
    target = first.targets[0] if len(first.targets) == 1 else ""
    selection = RunSelection(first.cohort, target, first.split, first.inferior, first.superior)
    title = f"{asked['cohort']}: {first.inferior} guided by {first.superior}, test cases"
    return Study(store, selection, ids, title, "test", metric, smallest_effect, notes=list(dict.fromkeys(notes)))


def _listed(given: Model | Sequence[Model]) -> Sequence[Model]:
    return given if isinstance(given, list | tuple) else [given]
