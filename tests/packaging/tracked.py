"""What git has of the package: what every tool must see, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("embeddings", "encoders", "flows", "heads", "warehouse")


def tracked() -> list[str]:
    """Paths of git's files that are there, links too."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_symlink() | (ROOT / name).exists()]


def package_files() -> set[str]:
    """The package's files by the names that they are installed under."""
    own = {name for name in tracked() if name.startswith("guidestore/") and not (ROOT / name).is_symlink()}
    return own | {f"guidestore/{name}" for name in tracked() if name.partition("/")[0] in FOLDERS}


def modules() -> set[str]:
    """Dotted names of the package's modules."""
    dotted = {name.removesuffix(".py").replace("/", ".") for name in package_files() if name.endswith(".py")}
    return {name.removesuffix(".__init__") for name in dotted}
