"""Who makes a commit: the machine, the Prefect flow run if any, the git commit and the versions that run."""

from __future__ import annotations

import functools
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any


@functools.cache
def _git_sha() -> str:
    """Commit of the guidestore checkout that runs, '' outside one."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide codes and heads."""
    packages = {"python": platform.python_version()}
    for name in ("guidestore", "torch", "numpy", "monai", "scikit-learn", "scikit-image", "openslide-python", "zarr"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return packages


def actor(device: str = "") -> dict[str, Any]:
    """Who commits: host, device where one computed, Prefect flow run if any, git commit and versions."""
    return {
        "host": socket.gethostname(),
        **({"device": device} if device else {}),
        "flow_run_id": _flow_run_id(),
        "git_sha": _git_sha(),
        "environment": versions(),
    }


def _flow_run_id() -> str:
    """Id of the Prefect flow run we are in. Who runs flows has imported it; we do not."""
    runtime = sys.modules.get("prefect.runtime")
    return str(runtime.flow_run.id or "") if runtime else ""
