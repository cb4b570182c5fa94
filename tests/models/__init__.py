"""Small PyTorch models, one for each structure that passes must handle; built in milliseconds, weights random but generic."""

from tests.models.registry import SMALL_MODELS, SmallModel, small_models, traced

__all__ = ["SMALL_MODELS", "SmallModel", "small_models", "traced"]
