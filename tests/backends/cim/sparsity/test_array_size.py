"""The weights that stand side by side in an array, of every encoding: as many as the mapping puts there."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.cim.arch.model import Adc, Arch, Array
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import cells_of
from netwright.backends.cim.mapping.units import pattern_of
from netwright.backends.cim.sparsity.resequence import array_size

ARCH = Arch(name="test", array=Array(rows=16, columns=64, active_rows=16, adc=Adc(bits=5)))
CODINGS = {
    "offset": Coding(rows=16),
    "two's complement": Coding(rows=16, encoding="twos_complement"),
    "pairs, subtracted after": Coding(rows=16, encoding="differential", subtract="after"),
    "pairs, subtracted before": Coding(rows=16, encoding="differential", subtract="before"),
    "cells of 2 bits": Coding(rows=16, cell_bits=2),
}


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_an_array_is_as_wide_as_its_weights_columns(coding: Coding) -> None:
    rows, width = array_size(coding, ARCH)
    lines = len(cells_of(np.zeros(1, np.int8), coding)) * (2 if coding.encoding == "differential" and coding.subtract == "before" else 1)

    assert rows == 16
    assert width * lines <= ARCH.array.columns < (width + 1) * lines
    assert pattern_of(ARCH, coding, (16, width)).arrays == 1
    assert pattern_of(ARCH, coding, (16, width + 1)).arrays == 2
