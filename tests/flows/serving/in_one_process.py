"""Runs of several flows in one process: a process for each, as `serve` starts them, takes seconds to import.

Run as `python -m tests.flows.serving.in_one_process` with the environment of a run; asked by `Served.run_here`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> None:
    """Reads {name: [flow, settings or null]}, and prints {name: id of the flow run}."""
    runs = {}
    for name, (flow_name, settings) in json.load(sys.stdin).items():
        flow = getattr(import_module(f"guidestore.flows.serving.{flow_name}"), flow_name)
        given = flow.validate_parameters({"settings": settings} if settings else {})
        runs[name] = str(flow(**given, return_state=True).state_details.flow_run_id)
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
