"""`factorize`: operators that multiply with a weight become several thin ones."""

from netwright.passes.factorize.factorize import Factorize

__all__ = ["Factorize"]
