"""Energy, area and time of a chip's parts, and of what ran on it."""
