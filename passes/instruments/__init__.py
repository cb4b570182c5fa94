"""Instruments watch a run: printing, oracle checks, progress. They return data or write to a sink; they print nothing."""

from netwright.passes.instruments.base import Instrument
from netwright.passes.instruments.oracle import OracleCheck
from netwright.passes.instruments.printing import PrintStages

__all__ = ["Instrument", "OracleCheck", "PrintStages"]
