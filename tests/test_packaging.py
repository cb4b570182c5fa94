"""The wheel holds every folder of code: an editable install hides one that is missing from the list."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "netwright": "netwright",
    "ir": "netwright.ir",
    "frontends": "netwright.frontends",
    "passes": "netwright.passes",
    "backends": "netwright.backends",
}


def packages_on_disk() -> list[str]:
    """The dotted name of every folder with an `__init__.py`, symlinks not followed."""
    found: list[str] = []
    for top, name in FOLDERS.items():
        for init in (ROOT / top).rglob("__init__.py"):
            folder = init.parent.relative_to(ROOT / top)
            if not any((ROOT / top / part).is_symlink() for part in [folder, *folder.parents]):
                found.append(".".join([name, *folder.parts]))
    return sorted(set(found))


def setuptools_table() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["tool"]["setuptools"]


def test_pyproject_lists_every_package():
    found = packages_on_disk()
    paste = "packages = [\n" + "".join(f'    "{name}",\n' for name in found) + "]"
    assert setuptools_table()["packages"] == found, f"paste into [tool.setuptools] of pyproject.toml:\n{paste}"


def test_every_top_folder_is_mapped_and_linked():
    assert setuptools_table()["package-dir"] == {name: top for top, name in FOLDERS.items()}
    for top in FOLDERS.keys() - {"netwright"}:
        assert (ROOT / "netwright" / top).resolve() == ROOT / top


def test_every_folder_with_code_is_a_package():
    stray = [
        path.relative_to(ROOT)
        for top in FOLDERS
        for path in (ROOT / top).rglob("*.py")
        if not path.is_symlink() and not (path.parent / "__init__.py").exists()
    ]
    assert stray == []


def test_every_dependency_is_pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    pins = {line.partition("==")[0].lower().replace("_", "-") for line in lines if not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    groups: list[list[str]] = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {requirement.split(">")[0].split("[")[0].lower().replace("_", "-") for group in groups for requirement in group}
    assert wanted <= pins
    assert all(line.startswith("#") or line.count("==") == 1 for line in lines)


def test_a_wheel_built_from_the_source_archive_holds_every_package(tmp_path: Path):
    source = shutil.copytree(ROOT, tmp_path / "source", symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
    build("sdist", source, tmp_path)
    (archive,) = tmp_path.glob("netwright-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    build("wheel", tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path)
    (wheel,) = tmp_path.glob("netwright-*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {f"{package.replace('.', '/')}/__init__.py" for package in packages_on_disk()} <= names
    assert "netwright/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("ir/", "tests/", "benchmarks/")) for name in names)


def build(kind: str, source: Path, out: Path) -> None:
    """Build an sdist or a wheel with setuptools alone, so that no network is needed."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=source)
    assert done.returncode == 0, done.stderr
