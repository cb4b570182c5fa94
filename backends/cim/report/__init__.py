"""What a run on a chip was: tables, JSON, and a page with a chip map, a timeline and an energy breakdown."""
