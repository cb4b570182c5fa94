"""Zeros in feature maps: where they are, and the pass `sparsify_activations` that makes them."""

from netwright.passes.sparsify.maps import KINDS, FeatureMap, Kind, feature_maps, select_maps
from netwright.passes.sparsify.sparsify import SparsifyActivations

__all__ = ["KINDS", "FeatureMap", "Kind", "SparsifyActivations", "feature_maps", "select_maps"]
