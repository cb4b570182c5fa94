"""The pass `quantize`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program
from netwright.passes.base import PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.plan import Plan
from netwright.passes.quantize.attention import Attention
from netwright.passes.quantize.calibration import Method
from netwright.passes.quantize.carrying import Carrying
from netwright.passes.quantize.deciding import make_plan
from netwright.passes.quantize.options import Recipe, Scheme, check_options
from netwright.passes.quantize.static.running import left_float


@dataclass(frozen=True, kw_only=True)
class Quantize(PlannedPass):
    """Turn weights into integers, and with them what is computed: by the scheme that suits each layer, or that is fastest as measured.

    `scheme='dynamic'`: MatMul, Gemm and LSTM compute with int8 weights and activations quantized as they come; tables that Gather reads
    are stored as integers. Needs no data. `scheme='static'`: convolutions and products between integers, on grids found by calibration.
    `scheme='auto'`: static for convolutions where there is calibration data, dynamic for the rest. `scheme='weights'` (`bits=8` or `4`):
    weights in blocks that share a scale, computation float to the outside, for models bound by memory.

    `tune='latency'` measures every layer in every scheme on this machine and takes the fastest; the result is never slower than float.
    `recipe='fast' | 'balanced' | 'best'` tries what makes the error smaller, and keeps what does on data held out. `budget={'bits': 6}`
    gives each layer the bits that it needs; `metric_drop=0.01` puts layers back to float until the metric holds.

    What stays float is listed as a miss with the reason. A weight with several readers is quantized once for all of them. A model that is
    already quantized is left as it is.
    """

    name: ClassVar[str] = "quantize"
    numerics: ClassVar[Numerics] = Lossy("relative output error")
    breaks: ClassVar[frozenset[str]] = frozenset({"Trainable"})
    provides: ClassVar[frozenset[str]] = frozenset({"Quantized"})
    fixpoint: ClassVar[bool] = True

    scheme: Scheme = "auto"
    """`dynamic`, `static`, `weights`, or `auto`: static for convolutions with calibration data, dynamic for the rest."""
    bits: int = 8
    """Of weights, 2 to 8; with `scheme='weights'` 8 or 4. Of the others, weights under 8 bits lie in bytes all the same."""
    block_size: int | None = None
    """`weights`: elements that share a scale, 16 to 256; 32 for 4 bits, 128 for 8 where not given."""
    symmetric: bool = False
    """`weights`: no zero points (a little smaller, less accurate). Weights of other schemes always are symmetric."""
    per_channel: bool = True
    """One scale for each output channel, else for each weight (a little faster, far less accurate)."""
    activations: Literal["u8", "s8"] = "u8"
    """`static`: unsigned (fast on x86) or signed and symmetric."""
    attention: Attention = "auto"
    """`static`, for chips: which products of two activations: `auto`: where written arrays take less energy × delay; `arrays`, `vector`."""
    ranges: Method | None = None
    """`static`: how grids follow from calibration data: `minmax`, `moving`, `percentile`, `entropy`, `mse` or `lp`."""
    statistics: str | None = None
    """`static`: path of statistics that `netwright calibrate` wrote, in the place of calibration data."""
    rounding: str = "nearest"
    """How weights become integers: `nearest`, `gptq`, `adaround` (both with calibration data), `hqq` or `awq`."""
    correct_bias: bool = False
    """Let biases make up for the mean of the error (with calibration data)."""
    recipe: Recipe | None = None
    """`fast`, `balanced` or `best`: try such steps, and keep those that lower the error of outputs on data held out."""
    tune: Literal["latency"] | None = None
    """`latency`: for each layer whichever scheme, or float, is fastest as measured."""
    budget: Mapping[str, float] | None = None
    """`{'bits': 6}`: the mean bits of a weight, shared out by what outputs feel; or `{'bytes': 0.3}`."""
    metric_drop: float | None = None
    """Put layers back to float until the metric has fallen by no more than this."""
    trainable: bool = False
    """`static`: leave weights float, on their grids by nodes in the graph, to be trained; `fold` makes integers of them."""
    exclude: str | Sequence[str] = ()
    """Patterns (`*`, `?`) of sites or module paths that stay float."""

    def __post_init__(self) -> None:
        """Refuse options that do not go together.

        Raises:
            PipelineError: they do not.
        """
        object.__setattr__(self, "exclude", (self.exclude,) if isinstance(self.exclude, str) else tuple(self.exclude))
        check_options(self)

    def needs(self) -> frozenset[str]:
        """Data where an option learns from it, a metric to hold it, a timer to measure with."""
        needed: set[str] = set()
        learns = self.rounding in ("gptq", "adaround", "awq") or self.correct_bias or self.recipe or self.budget
        if learns or (self.scheme == "static" and self.statistics is None):
            needed |= {"calibration", "executor"}
        if self.tune is not None:
            needed |= {"timer", "executor"}
        if self.metric_drop is not None:
            needed.add("metric")
        return frozenset(needed)

    def make_plan(self, program: Program, context: Context) -> Plan:
        """Decide by site."""
        return make_plan(self, program, context)

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """One rewrite for each site, or for all sites that share a weight, by the weights alone.

        Raises:
            PlanError: the plan is for another pass or program, names sites that are not there, or decides what cannot be done there.
        """
        plan.check_fits(self.name, fingerprint(program))
        yield from Carrying(Context(), trainable=self.trainable).proposals(program, plan)

    def carry_out_and_settle(self, program: Program, plan: Plan, context: Context) -> Proposals:
        """One rewrite for each site, its weights rounded as the plan says with the help of data.

        Raises:
            PlanError: as `carry_out`.
        """
        plan.check_fits(self.name, fingerprint(program))
        yield from Carrying(context, trainable=self.trainable).proposals(program, plan)
        if context.kernels is not None and not self.trainable and next(program.nodes("DequantizeLinear"), None) is not None:
            yield from left_float(program, context.kernels.of(program))
