"""The compute-in-memory backend: Programs become instructions for the tiles of a chip, which a simulator executes bit by bit.

The way of a model:

- `arch`: the chip, described in data;
- `ops`: operators of the domain `netwright.cim`, each with schema, shape rule and an expansion into standard ONNX;
- `lowering`: passes from a quantized Program to one whose products are `CrossbarMatMul`; `sparsity`: passes that disable cells;
- `mapping`: blocks, copies, placement, layouts: from that Program to a `ChipProgram`;
- `program`: instructions, their text and their file (`.nwcim`);
- `coding` and `engines`: what one crossbar computes, plainly and fast; `simulator`: runs a ChipProgram and counts;
- `schedule` and `cost`: when everything happens, and what it takes; `report`: tables, JSON and a page.
"""
