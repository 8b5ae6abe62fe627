from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Networks this small gain nothing from threads, which spin where another process shares the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real files; its tests skip where it is missing."""
    folder = Path(os.environ.get("GUIDESTORE_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real test data in {folder}; set GUIDESTORE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine phantom cases with small slides; read only."""
    folder = tmp_path_factory.mktemp("encoders") / "phantom"
    generate_phantom(folder, cases=9, seed=1, slide_px=512)
    return folder
