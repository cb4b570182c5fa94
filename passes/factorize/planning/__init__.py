"""From how much is to go to which sites are written how."""
