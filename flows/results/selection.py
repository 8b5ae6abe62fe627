"""Which stored runs a command is about, as its options name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from guidestore.embeddings.runs import Run
from guidestore.embeddings.types import CodeSetName
from guidestore.heads.choice import without_code


def _value(run: Run, option: str) -> str:
    """What a run has of an option; a code set as it is written within its cohort."""
    value = getattr(run, option)
    return value.within if isinstance(value, CodeSetName) else value or ""


def _names(asked: str, stored: str) -> bool:
    """Whether a model is asked for: of code of others, without @DIGEST whatever the code."""
    return asked in ("", stored, without_code(stored))


@dataclass(frozen=True, slots=True)
class RunSelection:
    """Runs of a cohort; '' selects all there are."""

    cohort: str
    target: str = ""
    split: str = ""
    inferior: str = ""
    """MODALITY, MODALITY/ENCODER or MODALITY/ENCODER@DIGEST; DIGEST may be a prefix."""
    superior: str = ""
    mode: str = ""
    guidance: str = ""
    """Rows without G stay."""
    decoder: str = ""

    def wants(self, run: Run) -> bool:
        """Whether a run is selected."""
        return (
            run.cohort == self.cohort
            and self.target in ("", run.target)
            and self.split in ("", run.split)
            and self.mode in ("", run.mode)
            and _names(self.decoder, run.decoder)
            and self._wants_codes(run.inferior, self.inferior)
            and self._wants_codes(run.superior, self.superior)
            and _names(self.guidance, run.guidance or self.guidance)
        )

    def _wants_codes(self, stored: CodeSetName | None, wanted: str) -> bool:
        if not wanted or stored is None:
            return not wanted
        if "/" not in wanted:
            return wanted == stored.modality
        return CodeSetName.parse(wanted, self.cohort).means(stored)

    def unmet(self, runs: Iterable[Run]) -> str:
        """What no run is of, and what there is instead, at the first option that leaves none; '' where all are met."""
        of_all = list(runs)
        left, asked = [run for run in of_all if run.cohort == self.cohort], RunSelection(self.cohort)
        if not left:
            there = ", ".join(sorted({f"{run.cohort}/{run.target}" for run in of_all}))
            return f"cohort {self.cohort} has no runs; there are {f'runs of {there}' if there else 'none yet'}"
        for name, value in asdict(self).items():
            if name == "cohort" or not value:
                continue
            asked = replace(asked, **{name: value})
            having = [run for run in left if asked.wants(run)]
            if not any(_value(run, name) for run in having):
                there = ", ".join(sorted({_value(run, name) for run in left} - {""})) or "none"
                return f"no run of {' '.join(asked.options())} is there; --{name} may be {there}"
            left = having
        return ""

    def options(self) -> list[str]:
        """The command line's own words for it: COHORT --target … ."""
        named = {name: value for name, value in asdict(self).items() if name != "cohort" and value}
        return [self.cohort, *(word for name, value in named.items() for word in (f"--{name}", value))]
