"""Chips as data: frozen dataclasses, YAML files, and the presets."""
