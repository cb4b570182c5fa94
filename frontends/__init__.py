"""Anything that a model can arrive as, turned into a Program."""
