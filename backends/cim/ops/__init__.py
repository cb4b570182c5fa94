"""Operators of the domain `netwright.cim`: schema, shape rule and expansion of each."""
