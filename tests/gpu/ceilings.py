"""The two ceilings of the card, measured: a product and a copy. Every floor of the other parts is counted from them."""

from __future__ import annotations

import torch

from tests.gpu.report import Report


def run(report: Report) -> None:
    n, count = (512, 2**22) if report.small else (8192, 2**30)
    if report.is_gpu:
        facts = torch.cuda.get_device_properties(report.device)
        report.say("card", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    report.say("torch", f"{torch.__version__}, CUDA {torch.version.cuda}")
    a, b = (torch.randn(n, n, device=report.device, dtype=torch.bfloat16) for _ in range(2))
    flops = 2 * n**3 / report.seconds(lambda: a @ b, 10)
    report.say(f"product {n}^3, bfloat16", f"{flops / 1e12:.1f} TFLOP/s")
    a, b = a.float(), b.float()
    report.say(f"product {n}^3, float32", f"{2 * n**3 / report.seconds(lambda: a @ b) / 1e12:.1f} TFLOP/s")
    source, target = (torch.zeros(count, device=report.device) for _ in range(2))
    moved = 2 * source.nbytes / report.seconds(lambda: target.copy_(source), 10)
    report.say(f"copy of {source.nbytes / 2**30:.2g} GiB, read and written", f"{moved / 1e12:.2f} TB/s")
    report.tell_ceilings(flops, moved)
