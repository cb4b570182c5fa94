"""`python -m netwright` is the command line."""

from netwright.cli import main

main()
