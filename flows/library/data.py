"""A training set: paired codes and labels of one snapshot under one split and fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import PARTS, CodeSetKey, PairedCodes
from guidestore.flows.encoding.import_codes import imported_columns
from guidestore.flows.library.arguments import public
from guidestore.flows.library.tables import Table
from guidestore.heads.checks import check_choice
from guidestore.heads.input_rows import INPUT_ROWS, input_row

if TYPE_CHECKING:
    import pandas as pd
    import torch

type Part = Literal["train", "val", "test"]


@public
class Data:
    """Paired codes z_I (n, d_I) and z_S (n, d_S), labels and parts of n cases; `len` counts them. Made by `Store.pair`.

    `paired` has the arrays themselves (guidestore.embeddings.types.PairedCodes): NaN where a case lacks a modality.

    >>> data
    Data digits, target digit (10 classes), split cv5, fold 0: 1,797 cases
      inferior digits/blurred/pixels@... (16), superior digits/full/pixels@... (64)
      train 1,221, val 216, test 360; pairs 1,797, labelled 1,797
    """

    def __init__(
        self, paired: PairedCodes, inferior_columns: Sequence[str] = (), superior_columns: Sequence[str] = ()
    ) -> None:
        """Columns: names of the dimensions of either code set; () where they have none."""
        self.paired = paired
        self.columns = {"inferior": tuple(inferior_columns), "superior": tuple(superior_columns)}
        """Side -> what its dimensions were called in the table that they came from; () where they have no names."""
        self.notes = tuple(issue.sentence for issue in paired.issues)
        """What pairing met, in sentences that may name cases."""

    def __len__(self) -> int:
        return len(self.paired)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order that labels index."""
        return self.paired.classes

    def __repr__(self) -> str:
        of = self.paired
        parts = ", ".join(f"{part} {int((of.parts == part).sum()):,}" for part in PARTS)
        widths = (of.inferior_nd.shape[1], of.superior_nd.shape[1])
        return (
            f"Data {of.cohort}, target {of.target} ({told_kind(of.kind, of.classes)}), "
            f"split {of.split}, fold {of.fold}: {len(self):,} cases\n"
            f"  inferior {of.inferior_key} ({widths[0]}), superior {of.superior_key} ({widths[1]})\n"
            f"  {parts}; pairs {int(of.is_pair.sum()):,}, labelled {int(of.has_label.sum()):,}"
        )

    def rows_of(self, part: Part = "train", row: str = "I", *, labelled: bool = True) -> np.ndarray:
        """(m,) int64 numbers of the cases of a part that have what an input row reads, and a label where `labelled`.
        Raises InvalidInputError."""
        check_choice(part, "part", PARTS)
        has = [input_row(row).has(self.paired), *([self.paired.has_label] if labelled else [])]
        return self.paired.rows(part, *has)

    def xy(
        self, part: Part = "train", row: str = "I", *, labelled: bool = True
    ) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """X (m, d) float32, y and the m case ids of a part, for any library that takes arrays.

        y: of classes and grades (m,) int64, -1 where missing; multilabel (m, L) float64, 1 or 0, NaN where not looked
        at; value (m,) float64 in the target's unit; survival (m, 2) float64, time and event (NaN where missing).
        row: what X is: I (z_I), S (z_S), or S+I ([z_S, z_I]). labelled: only cases with an outcome. Raises
        InvalidInputError for a row that needs a fitted G.

        >>> X, y, ids = data.xy("train", row="I")
        >>> X.shape, X.dtype, y.dtype
        ((1221, 16), dtype('float32'), dtype('int64'))
        >>> data.xy("test", row="S+I")[0].shape
        (360, 80)
        """
        reads = input_row(row).reads
        if "G(z_I)" in reads:
            able = ", ".join(name for name in ("I", "S", "S+I") if name in INPUT_ROWS)
            raise InvalidInputError(f"row {row} reads G(z_I), which only a fitted head has (gs.fit); take {able}")
        rows_m = self.rows_of(part, row, labelled=labelled)
        sides = {"z_I": self.paired.inferior_nd, "z_S": self.paired.superior_nd}
        read = [sides[code][rows_m] for code in reads]
        x_nd = read[0] if len(read) == 1 else np.hstack(read)
        return x_nd, self.paired.y[rows_m], tuple(self.paired.case_ids[i] for i in rows_m)

    def table(self) -> Table:
        """One row per case: case_id, part, label (of classes and grades their names; None where there is none),
        z_inferior and z_superior as lists of float32 (None where the case lacks the modality).

        >>> data.table().columns
        ['case_id', 'part', 'label', 'z_inferior', 'z_superior']
        """
        import pyarrow as pa

        of = self.paired
        columns: dict[str, Any] = {
            "case_id": pa.array(of.case_ids, pa.string()),
            "part": pa.array(of.parts.tolist(), pa.string()),
            "label": pa.array(self._outcomes()),
            "z_inferior": _lists(of.inferior_nd, of.has_inferior),
            "z_superior": _lists(of.superior_nd, of.has_superior),
        }
        return Table(pa.table(columns))

    def df(self) -> pd.DataFrame:
        """`table` for pandas, with a column for each dimension: I_0 … and S_0 …, float32, NaN where missing; the index
        is case_id. The codes are not copied.

        >>> data.df().loc["digit-0000", ["part", "label"]].tolist()
        ['train', '0']
        """
        import pandas as pd

        of = self.paired
        index = pd.Index(of.case_ids, name="case_id")
        frames = [pd.DataFrame({"part": of.parts.tolist(), "label": self._outcomes()}, index=index)]
        for side, codes_nd in (("I", of.inferior_nd), ("S", of.superior_nd)):
            names = [f"{side}_{d}" for d in range(codes_nd.shape[1])]
            frames.append(pd.DataFrame(codes_nd, index=index, columns=names, copy=False))
        return pd.concat(frames, axis=1)

    def _outcomes(self) -> list[Any]:
        """(n,) as people write them."""
        of = self.paired
        if of.outcomes is None:
            return [of.classes[label] if label >= 0 else None for label in of.labels.tolist()]
        return [value if known else None for value, known in zip(of.outcomes.tolist(), of.has_label, strict=True)]

    def torch(
        self, part: Part = "train", row: str = "I", *, labelled: bool = True, device: str = "cpu"
    ) -> torch.utils.data.TensorDataset:
        """`xy` of a part and row as a map-style data set of (x (d,) float32, y () int64), resident on a device.

        >>> x, y = data.torch("train")[0]
        >>> x.shape, y.dtype
        (torch.Size([16]), torch.int64)
        """
        import torch

        from guidestore.flows.work.devices import one_device

        place = one_device(device, "heads")
        x_nd, y, _ = self.xy(part, row, labelled=labelled)
        return torch.utils.data.TensorDataset(torch.from_numpy(x_nd).to(place), torch.from_numpy(y).to(place))


def column_names(snapshot: Snapshot, key: CodeSetKey | None) -> tuple[str, ...]:
    """Of the table that a code set was imported from; () where it was none."""
    for row in snapshot.rows("encoders").to_pylist():
        if key is not None and row["encoder_digest"] == key.encoder_digest:
            return imported_columns(row)
    return ()


def told_kind(kind: TargetKind, classes: Sequence[str]) -> str:
    """What a target is, in words: 3 classes, 3 grades, 2 labels, value, survival."""
    names = {"multilabel": "labels", "ordinal": "grades"}.get(kind, kind)
    return f"{len(classes)} {names}" if classes else names


def _lists(codes_nd: np.ndarray, has_n: np.ndarray) -> Any:
    """(n, d) as n lists of d, None where a case has none."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(codes_nd).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, codes_nd.shape[1], mask=pa.array(~has_n))
