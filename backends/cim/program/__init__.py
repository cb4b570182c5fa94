"""Programs of a chip: instructions by tile, their text, their file."""
