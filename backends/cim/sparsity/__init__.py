"""Passes that switch off cells: by the input's zeros, by the weights' zeros."""
