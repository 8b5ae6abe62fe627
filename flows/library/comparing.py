"""Two runs, sweeps or snapshots, compared."""

from __future__ import annotations

from guidestore.flows.library.tables import Table
from guidestore.flows.results.two_runs import RunComparison
from guidestore.flows.sweeps.comparing import AnyComparison


class Comparison:
    """`b` minus `a`. Made by `Store.compare`."""

    def __init__(self, told: AnyComparison) -> None:
        self._told = told
        self.notes = tuple(told.notes)

    def table(self) -> Table:
        """Of runs a row per metric, of sweeps per task, of snapshots per head: a, b, gain with its 95 % interval over
        cases from low to high, and p, two-sided."""
        notes = self.notes
        if isinstance(self._told, RunComparison):
            of = self._told
            a, b = of.names
            test = of.mcnemar
            right = (
                ()
                if test is None
                else (f"McNemar: only a right {test.only_a}, only b right {test.only_b}, p {test.p_value:.3g}",)
            )
            notes = (f"a: {a}", f"b: {b}", f"{of.n_cases} cases", *right, *notes)
        return Table.of_rows(self._told.as_rows(), notes=notes)

    def changed(self) -> Table:
        """The cases that `b` predicts otherwise than `a`: case_id, label, a says, b says."""
        return Table.of_rows(self._told.changed_rows(), asked=["case_id"])

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()
