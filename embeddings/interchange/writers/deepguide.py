"""DeepGuide: ``path/{part}_{fold}.npy``, ``rad/<mod>/<fold>/{part}_{fold}_<mod>.npy``, ``g/``, ``labels/``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.outgoing import Outgoing, Writer, check_ids, part_counts, write_csv
from guidestore.embeddings.types import PARTS

ID_COLUMN = "CPM_RadPath_2019_ID"


class Deepguide(Writer):
    """Arrays of DeepGuide's notebooks on RadPath."""

    tool = "DeepGuide"

    def write(self, out: Outgoing, folder: Path) -> None:
        """Codes in float32, rows in the order of the cases in ``labels/split_{fold}_{part}.csv``; folds count from 1.

        The first code set is z_S (``path/``), the second z_I (``rad/``); a third one of guided codes goes into ``g/``.
        Cases that lack one of them, or a label, are left out.
        """
        if out.bags is not None or len(out.codes) not in (2, 3):
            raise InvalidInputError(
                "layout deepguide takes case codes: --code-set z_S --code-set z_I, and a third --code-set of guided "
                "codes where there are any, in this order"
            )
        _, label_of = out.need_classes("deepguide")
        folds = out.need_folds("deepguide")
        modality = out.codes[1].key.modality.removeprefix("mri_")
        by_case = [codes.by_case() for codes in out.codes]
        cases = sorted(set.intersection(*(set(codes) for codes in by_case)))
        out.left_out("case", "that lacks a code of one set", set.union(*(set(codes) for codes in by_case)) - set(cases))
        out.left_out("case", "without a label", (case for case in cases if case not in label_of))
        cases = [case for case in cases if case in label_of]
        check_ids((label_of[case] for case in cases), "class", "DeepGuide")
        part_counts(out, folds, set(cases))
        if len(out.codes) < 3:
            out.notes.append("no g/: DeepGuide's own G writes it, or name a third --code-set of guided codes")
        for number, parts in enumerate(folds.values(), 1):
            for part in PARTS:
                chosen = [case for case in cases if parts.get(case) == part]
                files = (
                    f"path/{part}_{number}.npy",
                    f"rad/{modality}/{number}/{part}_{number}_{modality}.npy",
                    f"g/{modality}/{modality}_{number}_{part}.npy",
                )
                for file, codes in zip(files, by_case, strict=False):
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    width = len(next(iter(codes.values())))
                    np.save(folder / file, np.array([codes[case] for case in chosen], np.float32).reshape(-1, width))
                (folder / "labels").mkdir(exist_ok=True)
                rows = ((case, label_of[case]) for case in chosen)
                write_csv(folder / "labels" / f"split_{number}_{part}.csv", (ID_COLUMN, "class"), rows)
