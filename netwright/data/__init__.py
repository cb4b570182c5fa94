"""Data in any of its forms, as batches: dicts of numpy arrays that fit a program's inputs, labels beside them."""

from netwright.data.batches import Batches, DataLike, as_batches

__all__ = ["Batches", "DataLike", "as_batches"]
