"""Imports go one way, and nothing heavy loads before it is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "ir": {"ir"},
    "frontends": {"ir", "frontends"},
    "passes": {"ir", "passes"},
    "backends": {"ir", "passes", "backends"},
    "netwright": {"ir", "frontends", "passes", "backends", "netwright"},
}
"""Which rooms each room may import; `netwright` stands for the package's face."""
HEAVY = {"torch", "onnxruntime"}
WITHOUT_HEAVY = {"ir", "passes"}


class Import(NamedTuple):
    """One import statement's target, wherever in a file it stands: a lazy import is a dependency too."""

    file: str
    line: int
    module: str


def files(folder: str) -> Iterator[Path]:
    """The Python files of a top folder, symlinked ones left to the folder that they are in."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if not any(parent.is_symlink() for parent in path.parents if ROOT in parent.parents):
            yield path


def imports(path: Path, package: str) -> Iterator[Import]:
    """Every absolute module name that a file imports, relative ones resolved against `package`."""
    name = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            yield from (Import(name, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(name, node.lineno, f"{module}.{alias.name}") for alias in node.names)


def package_of(path: Path) -> str:
    """The dotted package that a file belongs to."""
    parts = path.relative_to(ROOT).parent.parts
    return ".".join(parts if parts[0] == "netwright" else ("netwright", *parts))


def room_of(module: str) -> str | None:
    """The room that a module of netwright belongs to; None for a module of others."""
    parts = module.split(".")
    if parts[0] != "netwright":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "netwright"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str):
    wrong = [
        found for path in files(room) for found in imports(path, package_of(path)) if room_of(found.module) not in {None, *ROOMS[room]}
    ]
    assert wrong == []


@pytest.mark.parametrize("room", sorted(WITHOUT_HEAVY))
def test_graph_and_passes_know_no_backend_library(room: str):
    wrong = [found for path in files(room) for found in imports(path, package_of(path)) if found.module.split(".")[0] in HEAVY]
    assert wrong == []


def test_backends_do_not_know_each_other():
    wrong = [
        found
        for path in files("backends")
        for found in imports(path, package_of(path))
        if len(own := package_of(path).split(".")) > 2
        and found.module.startswith("netwright.backends.")
        and found.module.split(".")[2] != own[2]
    ]
    assert wrong == []


def test_nothing_imports_a_top_folder_by_its_bare_name():
    folders = [*ROOMS, "tests", "benchmarks", "examples"]
    wrong = [
        found
        for folder in folders
        for path in files(folder)
        for found in imports(path, package_of(path))
        if found.module.split(".")[0] in ROOMS.keys() - {"netwright"}
    ]
    assert wrong == []


@pytest.mark.parametrize("code", ["import netwright", "from netwright.cli import main; main(['--help'])"])
def test_starting_up_loads_neither_torch_nor_onnxruntime(code: str):
    report = "import atexit, sys; atexit.register(lambda: print('LOADED', sorted({'torch', 'onnxruntime'} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", f"{report}\n{code}"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("LOADED []\n"), done.stdout


def test_no_file_names_a_path_of_one_machine():
    homes, examples = "|".join(["work", "root", "farm"]), "me|someone|user"
    pattern = re.compile(rf"(?<![\w.])/(?:{homes})/|/home/(?!(?:{examples})/)[a-z]+/|/[.]library/")
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False, cwd=ROOT)
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so the files of the repository are not known")
    wrong = [
        f"{name}:{number}: {line.strip()}"
        for name in filter(None, listed.stdout.split("\0"))
        if (path := ROOT / name).is_file() and not path.is_symlink()
        for number, line in enumerate(path.read_text(encoding="utf8", errors="ignore").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert wrong == []
