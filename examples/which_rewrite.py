"""Walk through the rewrites of a model one by one: which there were, and how far each takes the outputs from the original's.

python examples/which_rewrite.py MODEL.onnx [PIPELINE]
"""

from __future__ import annotations

import sys

import netwright as nw
from netwright.backends.onnxruntime import OrtExecutor
from netwright.passes import Context, run
from netwright.passes.values import errors
from netwright.samples import find_feeds


def main() -> None:
    """Stop after every tenth action and compare."""
    program = nw.load(sys.argv[1])
    pipeline = nw.Pipeline.parse(sys.argv[2] if len(sys.argv) > 2 else "simplify")
    executor = OrtExecutor()
    feeds = find_feeds(program, executor)
    expected = executor.run(program, feeds)
    actions = run(program, pipeline, Context()).program.ledger.actions
    for action in actions[9::10] or actions[-1:]:
        stage = run(program, pipeline, Context(), until=action.number).program
        found = errors(expected, executor.run(stage, feeds))
        sys.stdout.write(f"{action.number:16} {action.rule:24} %{action.site:32} max abs error {found.max_abs:.2e}\n")


if __name__ == "__main__":
    main()
