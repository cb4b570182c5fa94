"""Single weights made zero: which ones, what the others become, and that the zeros stay."""

from netwright.passes.prune.unstructured.choice import SPARSE_KEYS, Sparse, read_sparse
from netwright.passes.prune.unstructured.planning import plan_sparse
from netwright.passes.prune.unstructured.rewriting import carry_out_sparse
from netwright.passes.prune.unstructured.update import update_weights

__all__ = ["SPARSE_KEYS", "Sparse", "carry_out_sparse", "plan_sparse", "read_sparse", "update_weights"]
