"""When everything happens: tiles, vector units, links and ports in time."""
