"""Every decoder of many jobs; equal ones are fitted once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.input_rows import INPUT_ROWS, Arm
from guidestore.heads.outcomes import n_outputs
from guidestore.heads.protocol import Decoder, DecoderProblem, Foreteller
from guidestore.heads.rows.guidance import Guided, Variant
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.rows.reading import read
from guidestore.heads.shared_codes import SharedCodes

type FittedDecoder = Decoder | Foreteller | DivergedError
type Decoders = dict[tuple[int, Arm], FittedDecoder]
"""(number of the job, the head that it is trained as) -> decoder."""


@dataclass(slots=True)
class DecoderFits:
    """The decoders so far."""

    codes: SharedCodes
    device: str
    _fitted: dict[Hashable, FittedDecoder] = field(default_factory=dict)
    """By what it was fitted on."""

    def fit(
        self, jobs: Sequence[RowsJob], asked: Sequence[Sequence[Arm]], guided: Mapping[Variant, Guided]
    ) -> Decoders:
        """The decoders of the heads that are asked for of each job; those of an earlier call are not fitted again."""
        problems: dict[Hashable, DecoderProblem] = {}
        keys: dict[tuple[int, Arm], Hashable] = {}
        for number, (job, arms) in enumerate(zip(jobs, asked, strict=True)):
            for arm in dict.fromkeys(map(job.decoder_arm, arms)):
                if arm is None:
                    continue
                of_arm = guided[number, arm.control, arm.permutation] if INPUT_ROWS[arm.row].has_g else None
                keys[number, arm] = self._ask(problems, job, arm.row, of_arm)
        self._fitted |= zip(problems, fit_decoders(list(problems.values()), device=self.device), strict=True)
        return {asked_for: self._fitted[key] for asked_for, key in keys.items()}

    def _ask(self, problems: dict[Hashable, DecoderProblem], job: RowsJob, row: str, guided: Guided | None) -> Hashable:
        """Puts the fit into `problems` unless somebody asked for it; its key."""
        labels, train, val = job.paired.y, job.labelled("train", row), job.labelled("val", row)
        try:
            x_nd = read(job, row, train, guided, self.codes, out_of_fold=True)
            x_val_nd = read(job, row, val, guided, self.codes)
        except DivergedError as error:
            self._fitted[id(error)] = error  # which holds it, so that the id stays its own
            return id(error)
        of_labels = (job.paired.target, labels[train].tobytes(), labels[val].tobytes())
        key = (id(x_nd), id(x_val_nd), *of_labels, job.decoder, job.fusion_of(row), job.seed)
        if key not in problems and key not in self._fitted:
            k = n_outputs(job.paired.kind, len(job.paired.classes))
            problems[key] = DecoderProblem(
                job.build_decoder(row), x_nd, labels[train], x_val_nd, labels[val], k, job.seed
            )
        return key
