"""Products on crossbars, fast: packed planes and popcounts, exact collapse into float32 products, tables of conversions."""
