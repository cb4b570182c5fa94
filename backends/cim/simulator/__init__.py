"""Runs ChipPrograms: bit by bit, counting what the hardware does."""
