"""Counting n-grams of integers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from netwright.backends.torch.table import torch_op
from netwright.ir.errors import UnsupportedModelError

Ints = Sequence[int]


@torch_op("TfIdfVectorizer", since=9)
def tf_idf(
    x: torch.Tensor,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Ints,
    ngram_indexes: Ints,
    pool_int64s: Ints = (),
    pool_strings: Sequence[str] = (),
    weights: Sequence[float] = (),
) -> torch.Tensor:
    """How often each n-gram of a pool stands in each row, its elements up to `max_skip_count` further apart.

    Args:
        x: [row] or [rows, row].
        max_gram_length: longest n-grams that count.
        max_skip_count: most elements skipped between two of an n-gram; single elements skip none.
        min_gram_length: shortest n-grams that count.
        mode: `TF` counts, `IDF` gives the weight where there is one, `TFIDF` counts times the weight.
        ngram_counts: where the n-grams of each length begin in the pool.
        ngram_indexes: where each n-gram is counted in the output.
        pool_int64s: all n-grams, one after another, the shortest first.
        pool_strings: the same of strings, which torch has not.
        weights: of each n-gram; ones where empty.

    Returns:
        [max(ngram_indexes) + 1] or [rows, max(ngram_indexes) + 1], float32.

    Raises:
        UnsupportedModelError: the pool is of strings.
    """
    if pool_strings:
        raise UnsupportedModelError("torch has no tensors of strings.", place="TfIdfVectorizer", remedy="Give integers.")
    rows = x.unsqueeze(0) if x.ndim == 1 else x
    bounds = [*ngram_counts, len(pool_int64s)]
    columns = list(ngram_indexes)
    counts = torch.zeros(rows.shape[0], max(columns) + 1, device=x.device)
    first = 0
    for length, (begin, end) in enumerate(itertools.pairwise(bounds), start=1):
        number = (end - begin) // length
        places = torch.tensor(columns[first : first + number], dtype=torch.int64, device=x.device)
        first += number
        if not number or not min_gram_length <= length <= max_gram_length:
            continue
        pool = torch.tensor(pool_int64s[begin:end], dtype=x.dtype, device=x.device).reshape(number, length)
        for skip in range(1 + (max_skip_count if length > 1 else 0)):
            counts = counts.index_add(1, places, _found(rows, pool, skip + 1))
    if mode != "TF":
        scale = torch.ones(counts.shape[1], device=x.device)
        if weights:
            scale[columns] = torch.tensor(weights, device=x.device)
        counts = (counts > 0) * scale if mode == "IDF" else counts * scale
    return counts[0] if x.ndim == 1 else counts


def _found(rows: torch.Tensor, pool: torch.Tensor, step: int) -> torch.Tensor:
    """How often each n-gram of a pool stands in each row with its elements `step` apart: [rows, pool], in floats."""
    span = (pool.shape[1] - 1) * step + 1
    if rows.shape[1] < span:
        return torch.zeros(rows.shape[0], pool.shape[0], device=rows.device)
    grams = rows.unfold(1, span, 1)[..., ::step]
    return (grams.unsqueeze(2) == pool).all(-1).sum(1).float()
