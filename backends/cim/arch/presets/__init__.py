"""Chip descriptions that come with netwright, one YAML file a chip; each says where its figures come from and which are assumed."""
