"""The command line `netwright`: one file per command; each loads what it needs when it runs."""

from netwright.cli.app import main

__all__ = ["main"]
