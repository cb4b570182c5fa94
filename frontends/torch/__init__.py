"""The PyTorch frontend: a module and example inputs become a Program, through torch's own exporter."""

from netwright.frontends.torch.trace import DynamicShapes, trace

__all__ = ["DynamicShapes", "trace"]
