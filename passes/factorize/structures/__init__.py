"""Decompositions of operators: numbers in, numbers out."""
