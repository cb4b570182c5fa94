"""Compressors for three-model compression: `compress` as a function of weights, with gradients, and what stores its result."""

from netwright.training.compressors.base import Compression, Compressor
from netwright.training.compressors.carried import PassCompressor
from netwright.training.compressors.lowrank import LowRankWeights
from netwright.training.compressors.prune import PruneWeights
from netwright.training.compressors.quantize import QuantizeWeights
from netwright.training.compressors.share import ShareWeights
from netwright.training.compressors.table import COMPRESSORS, compressor_names, parse_compressor

__all__ = [
    "COMPRESSORS",
    "Compression",
    "Compressor",
    "LowRankWeights",
    "PassCompressor",
    "PruneWeights",
    "QuantizeWeights",
    "ShareWeights",
    "compressor_names",
    "parse_compressor",
]
