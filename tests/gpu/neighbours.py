"""Exact neighbours of 1,000 queries among 1M codes of 768: what the card does by itself, one product and a top-k."""

from __future__ import annotations

import numpy as np
import torch

from tests.gpu.report import Report

BAR_S, AT_ONCE = 0.1, 65_536


def run(report: Report) -> None:
    n, d, m, k = (20_000, 64, 50, 10) if report.small else (1_000_000, 768, 1_000, 10)
    generator = torch.Generator(report.device).manual_seed(0)
    codes_nd = torch.nn.functional.normalize(torch.randn(n, d, device=report.device, generator=generator))
    queries_md = codes_nd[:: n // m][:m].clone()
    torch.backends.cuda.matmul.allow_tf32 = False

    def search() -> torch.Tensor:
        best, rows = None, None
        for start in range(0, n, AT_ONCE):
            values, places = (queries_md @ codes_nd[start : start + AT_ONCE].T).topk(min(k, n - start))
            places = places + start
            if best is not None and rows is not None:
                values, places = torch.cat([best, values], 1), torch.cat([rows, places], 1)
            best, order = values.topk(k)
            rows = places.gather(1, order)
        assert rows is not None
        return rows

    seconds = report.seconds(search, 5)
    report.check(f"top {k} of {m} queries among {n:,} x {d}", seconds <= BAR_S, f"{seconds:.3f} s (bar {BAR_S} s)")
    few, base = queries_md[:5].double().cpu().numpy(), codes_nd.double().cpu().numpy()
    wanted = np.argsort(-(few @ base.T), axis=1)[:, :k]
    same = np.mean([len({*a} & {*b}) / k for a, b in zip(wanted.tolist(), search()[:5].tolist(), strict=True)])
    report.must("   the rows that float64 finds", bool(same >= 0.98), f"{same:.2f}")
