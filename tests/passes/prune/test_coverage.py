"""Every small model in every form, pruned by half: valid at other sizes, equal to the masked original, dynamic axes kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks._forms import FORMS, Form, program_of
from benchmarks._pruning import TOLERANCE, prune
from tests.models import SMALL_MODELS, SmallModel, traced

MODELS = SMALL_MODELS | {
    f"{name}_fresh": replace(SMALL_MODELS[name], name=f"{name}_fresh", fresh=True) for name in ("resnet", "mobilenet_v2")
}
"""Models as torch initialises them too: exporters merge the biases that equal norms are folded into."""

NO_TORCHSCRIPT = {"decoder": "torch's older exporter knows neither RMS norm nor grouped queries; decoder_written_out stands for it"}

QUICK = ("resnet_fresh", "shufflenet", "encoder_packed_qkv", "decoder", "bi_lstm")
"""Of these all forms are tested by default; of the others TorchScript exports, which take no time to make."""

CASES = [
    pytest.param(model, form, id=f"{name}-{form}", marks=[] if form == "torchscript" or name in QUICK else [pytest.mark.slow])
    for name, model in MODELS.items()
    for form in FORMS
    if not (form == "torchscript" and name in NO_TORCHSCRIPT)
]


@pytest.mark.parametrize(("model", "form"), CASES)
def test_half_of_any_model_goes_and_the_rest_computes_what_the_masked_model_computes(model: SmallModel, form: Form, tmp_path: Path) -> None:
    program = traced(model.name) if form == "module" and model.name in SMALL_MODELS else program_of(model, form)
    found = prune(program, [model.feeds(batch=2), model.feeds(batch=3, length=5)], tmp_path)
    assert not found.failures
    assert found.effect > 100 * TOLERANCE, "the masked model hardly differs from the original: equality with it says nothing"
    assert all(found.frozen)
    assert all(reason.partition(": ")[2] for reason in found.missed)
