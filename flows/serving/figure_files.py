"""Figures of runs as files that the server hands out beside the page of codes: Prefect's database and its pages get an
address of some sixty characters, and no image in base64 that runs out of its box."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from prefect.settings import get_current_settings

from guidestore.flows.serving.forms import page_url

PLACE = "figures"
"""Under the page's address."""


def figures_folder() -> Path:
    """Of this PREFECT_HOME; made where it is not there."""
    folder = get_current_settings().home / "guidestore-figures"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def address_of(png: bytes) -> str:
    """Where a browser that has Prefect's page open finds this PNG. A server of somebody else does not hand out our
    files: there it is a data URI, which needs none."""
    if not page_url():
        return f"data:image/png;base64,{base64.b64encode(png).decode()}"
    name = f"{hashlib.sha256(png).hexdigest()[:32]}.png"
    file = figures_folder() / name
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_bytes(png)
    draft.replace(file)
    return f"{page_url()}{PLACE}/{name}"
