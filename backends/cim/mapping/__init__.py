"""From a lowered Program to a ChipProgram: blocks, copies, placement, layouts, instructions."""
