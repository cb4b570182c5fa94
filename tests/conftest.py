"""What all tests share: golden files, fixed seeds, one thread a worker."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

# Two workers on two cores: a library that starts one thread a core in each would only make them wait for each other.
# These must stand before numpy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import pytest

Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what the tests produce into their golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(text, name)` compares with the file `golden/NAME` beside the test, or writes it under `--update-golden`."""
    folder = request.path.parent / "golden"
    update = bool(request.config.getoption("--update-golden"))

    def compare(text: str, name: str) -> None:
        check_golden(folder / name, text, update=update)

    return compare


def check_golden(path: Path, text: str, *, update: bool) -> None:
    """Fail, with the way to accept the new text, unless the file holds exactly this text (a final newline aside)."""
    text = text.rstrip("\n") + "\n"
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf8")
        return
    if not path.exists():
        pytest.fail(f"{path.name} is not in {path.parent}; run pytest with --update-golden, and read what it writes.")
    assert text == path.read_text(encoding="utf8"), f"{path} differs; if the new text is right, run pytest with --update-golden."


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every test, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
