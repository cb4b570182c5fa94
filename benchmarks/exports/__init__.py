"""Models that the benchmarks run on: exports of transformers architectures, and generated graphs of any size."""

from benchmarks.exports.export import CACHE, dims, example_feeds, export_path, traced
from benchmarks.exports.models import ARCHITECTURES, Architecture

__all__ = ["ARCHITECTURES", "CACHE", "Architecture", "dims", "example_feeds", "export_path", "traced"]
