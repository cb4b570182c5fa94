"""What computes each ONNX operator on torch tensors, one family a file; importing this package fills the table."""

import pkgutil
from importlib import import_module

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
