"""Scripts that measure netwright beside its peers, and the models they measure on."""
