"""Which stored runs a command is about, as its options name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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

    def wants(self, run: Mapping[str, Any]) -> bool:
        """Whether a row of schema ``runs`` is selected."""
        return (
            run["cohort"] == self.cohort
            and all(getattr(self, name) in ("", run[name]) for name in ("target", "split", "mode", "decoder"))
            and self._wants_codes(run["inferior"], self.inferior)
            and self._wants_codes(run["superior"], self.superior)
            and self.guidance in ("", run["guidance"] or self.guidance)
        )

    def _wants_codes(self, stored: str, wanted: str) -> bool:
        """A digest may be cut short; names may not: mri_t1 is not mri_t1ce."""
        full = f"{self.cohort}/{wanted}"
        return not wanted or stored.startswith(full if "@" in wanted else (f"{full}/", f"{full}@"))

    def options(self) -> list[str]:
        """The command line's own words for it: COHORT --target … ."""
        named = {name: value for name, value in asdict(self).items() if name != "cohort" and value}
        return [self.cohort, *(word for name, value in named.items() for word in (f"--{name}", value))]
