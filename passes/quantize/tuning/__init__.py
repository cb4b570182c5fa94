"""`tune='latency'`: what each site becomes is chosen by measuring on this machine, and the whole is never slower than float."""

from netwright.passes.quantize.tuning.cache import TimingCache
from netwright.passes.quantize.tuning.settings import Carry, Tuned, TuneSettings
from netwright.passes.quantize.tuning.timer import TurnTimer
from netwright.passes.quantize.tuning.tune import tuned

__all__ = ["Carry", "TimingCache", "TuneSettings", "Tuned", "TurnTimer", "tuned"]
