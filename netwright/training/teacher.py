"""The teacher: a program that is run, and never trained, for the values that a student is to come near to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, cast

import numpy as np
import torch

from netwright.backends.torch import binding_of, lower_to_torch, to_array, to_tensor
from netwright.ir.errors import DataError
from netwright.ir.maps import Same
from netwright.ir.program import Program
from netwright.training.cache import OutputCache
from netwright.training.matching import Pair
from netwright.training.objective import TorchBatch

Runtime: TypeAlias = Literal["auto", "onnxruntime", "torch"]


class Runner(Protocol):
    """Computes values of one program."""

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        """The wanted values, by name."""
        ...


class Teacher:
    """Gives what the values of a batch are to be.

    It runs on ONNX Runtime, or on torch (in eval mode, without gradients) where the batch is on a GPU or `runtime` says so; computes only
    what is wanted; and can keep its outputs on disk.

    Args:
        program: left as it is.
        pairs: what is to be compared, of which it gives the teacher's side, maps applied.
        student_inputs: the student's input names in order: inputs that the batch does not have under the teacher's names go by position.
        runtime: what runs it.
        cache: a folder for its outputs.
        threads: of ONNX Runtime.
    """

    def __init__(
        self,
        program: Program,
        pairs: Sequence[Pair],
        student_inputs: Sequence[str],
        *,
        runtime: Runtime = "auto",
        cache: str | os.PathLike[str] | None = None,
        threads: int | None = None,
    ) -> None:
        self._program = program
        self._pairs = tuple(pairs)
        self._inputs = tuple(value.name or "" for value in program.inputs)
        self._student_inputs = tuple(student_inputs)
        self._wanted = tuple(dict.fromkeys(source for pair in pairs for source in pair.teacher.sources))
        self._runtime: Runtime = runtime
        self._threads = threads
        self._cache_folder = cache
        self._runner: Runner | None = None
        self._cache: OutputCache | None = None

    @property
    def cache(self) -> OutputCache | None:
        """What keeps its outputs, once it has run."""
        return self._cache

    def targets(self, batch: TorchBatch) -> dict[str, torch.Tensor]:
        """What each pair's student value is to be, by the student's name, on the batch's device.

        Raises:
            DataError: the batch lacks an input of the teacher, or a value map does not fit what came out.
        """
        device = next(iter(batch.values())).device
        values = self._values(self._feeds(batch), device)
        return {pair.student: to_tensor(_mapped(pair, values)).to(device) for pair in self._pairs}

    def _values(self, feeds: dict[str, torch.Tensor], device: torch.device) -> dict[str, np.ndarray]:
        if self._runner is None:
            on_torch = self._runtime == "torch" or (self._runtime == "auto" and device.type != "cpu")
            self._runner = (
                _TorchRunner(self._program, self._wanted, device) if on_torch else _OrtRunner(self._program, self._wanted, self._threads)
            )
            if self._cache_folder is not None:
                self._cache = OutputCache(self._cache_folder, self._program, self._wanted, note="torch" if on_torch else "onnxruntime")
        runner = self._runner
        if self._cache is None:
            return runner.run(feeds)
        arrays = {name: to_array(tensor) for name, tensor in feeds.items()}
        return self._cache.get(arrays, lambda some: runner.run({name: to_tensor(array).to(device) for name, array in some.items()}))

    def _feeds(self, batch: TorchBatch) -> dict[str, torch.Tensor]:
        if all(name in batch for name in self._inputs):
            return {name: batch[name] for name in self._inputs}
        if len(self._inputs) == len(self._student_inputs) and all(name in batch for name in self._student_inputs):
            return {own: batch[name] for own, name in zip(self._inputs, self._student_inputs, strict=True)}
        missing = [name for name in self._inputs if name not in batch]
        raise DataError(
            f"The batch lacks {', '.join(missing)}, which the teacher takes.",
            place="teacher",
            remedy=f"Batches have {', '.join(batch)}; add the teacher's inputs under their names.",
        )


class _OrtRunner:
    """A program on ONNX Runtime."""

    def __init__(self, program: Program, wanted: Sequence[str], threads: int | None) -> None:
        from netwright.backends.onnxruntime import OrtExecutor

        self._program, self._wanted = program, tuple(wanted)
        self._executor = OrtExecutor(threads=threads or torch.get_num_threads())

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        """The wanted values, by name."""
        return self._executor.run(self._program, {name: to_array(tensor) for name, tensor in inputs.items()}, self._wanted)


class _TorchRunner:
    """A program as a GraphModule in eval mode."""

    def __init__(self, program: Program, wanted: Sequence[str], device: torch.device) -> None:
        outputs = {value.name for value in program.outputs}
        inner = [name for name in wanted if name not in outputs]
        self._module = lower_to_torch(program, trainable=False, wanted=inner).to(device).eval()
        self._binding = binding_of(self._module)
        self._wanted = tuple(wanted)

    @torch.no_grad()
    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        """The wanted values, by name."""
        found: object = self._module(*[inputs[name] for name in self._binding.inputs])
        values = (found,) if isinstance(found, torch.Tensor) else cast("tuple[torch.Tensor, ...]", found)
        by_name = dict(zip(self._binding.outputs, values, strict=True))
        return {name: to_array(by_name[name]) for name in self._wanted}


def _mapped(pair: Pair, values: Mapping[str, np.ndarray]) -> np.ndarray:
    arrays = [values[source] for source in pair.teacher.sources]
    if isinstance(pair.teacher.map, Same):
        return arrays[0]
    try:
        return np.ascontiguousarray(pair.teacher.map.apply(*arrays))
    except ValueError as error:
        raise DataError(
            f"What became of the teacher's {', '.join(pair.teacher.sources)} does not fit: {error}.",
            place=pair.student,
            remedy="Leave this value out of hidden=… or attention=….",
        ) from error
