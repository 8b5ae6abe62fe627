"""Which stored runs a command is about, as its options name them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from guidestore.embeddings.runs import Run
from guidestore.embeddings.types import CodeSetName


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
            and self.decoder in ("", run.decoder)
            and self._wants_codes(run.inferior, self.inferior)
            and self._wants_codes(run.superior, self.superior)
            and self.guidance in ("", run.guidance or self.guidance)
        )

    def _wants_codes(self, stored: CodeSetName | None, wanted: str) -> bool:
        if not wanted or stored is None:
            return not wanted
        if "/" not in wanted:
            return wanted == stored.modality
        return CodeSetName.parse(wanted, self.cohort).means(stored)

    def options(self) -> list[str]:
        """The command line's own words for it: COHORT --target … ."""
        named = {name: value for name, value in asdict(self).items() if name != "cohort" and value}
        return [self.cohort, *(word for name, value in named.items() for word in (f"--{name}", value))]
