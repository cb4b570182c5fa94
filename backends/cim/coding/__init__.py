"""What a crossbar computes: digits, cells, conversions, masks; as plain as it can be said."""
