"""What a linear operator is apart from its numbers, and how two of them, one after the other, are one."""

from netwright.passes.merge.forms.base import Form
from netwright.passes.merge.forms.convolution import Convolution
from netwright.passes.merge.forms.lookup import Lookup
from netwright.passes.merge.forms.product import Product

__all__ = ["Convolution", "Form", "Lookup", "Product"]
