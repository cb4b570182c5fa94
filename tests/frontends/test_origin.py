"""Exporters' notes on where a node comes from, translated."""

from __future__ import annotations

import onnx_ir
import pytest

from netwright.frontends.origin import adopt, innermost_module, module_of_scoped_name, source_of_trace
from netwright.ir.origin import Origin, origin_of

TRACE = """File "/somewhere/run.py", line 9, in <module>
    model(x)
  File "/somewhere/model.py", line 41, in forward
    return self.fc(x)
  File "/venv/lib/python3.11/site-packages/torch/nn/modules/linear.py", line 134, in forward
    return F.linear(input, self.weight, self.bias)"""


def test_the_source_is_the_innermost_frame_outside_torch() -> None:
    assert source_of_trace(TRACE) == "/somewhere/model.py:41"


def test_paths_of_installed_packages_are_shortened() -> None:
    assert source_of_trace('File "/venv/lib/python3.11/site-packages/transformers/bert.py", line 7, in f') == "transformers/bert.py:7"


@pytest.mark.parametrize(
    "trace", ["", "no frames", 'File "<eval_with_key>.3", line 5, in forward', 'File "/x/site-packages/torch/nn/a.py", line 1, in f']
)
def test_a_trace_without_user_code_gives_no_source(trace: str) -> None:
    assert source_of_trace(trace) == ""


def test_the_innermost_module_is_the_one_before_the_operator() -> None:
    scopes = "['', 'encoder', 'encoder.fc', 'linear_1']"
    classes = "['m.Model', 'm.Encoder', 'torch.nn.modules.linear.Linear', 'aten.linear.default']"
    assert innermost_module(scopes, classes) == ("encoder.fc", "torch.nn.modules.linear.Linear")


@pytest.mark.parametrize("scopes", ["", "[", "['x']", "__import__('os')", "[[]]", "{}"])
def test_scopes_that_are_no_list_of_names_give_nothing(scopes: str) -> None:
    assert innermost_module(scopes, scopes) == ("", "")


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/encoder/layer.0/attention/self/query/MatMul", "encoder.layer.0.attention.self.query"),
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/Add", ""),
    ],
)
def test_scoped_names_give_module_paths(name: str, module: str) -> None:
    assert module_of_scoped_name(name) == module


def model_with(**props: str) -> tuple[onnx_ir.Model, onnx_ir.Node]:
    x = onnx_ir.Value(name="x")
    node = onnx_ir.node("Relu", [x], name="/act/Relu")
    node.metadata_props.update(props)
    graph = onnx_ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 20})
    return onnx_ir.Model(graph, ir_version=10, producer_name="pytorch"), node


def test_dynamo_notes_become_netwrights_and_go() -> None:
    notes = {
        "pkg.torch.onnx.stack_trace": TRACE,
        "pkg.torch.onnx.name_scopes": "['', 'fc', 'linear']",
        "pkg.torch.onnx.class_hierarchy": "['M', 'nn.Linear', 'aten.linear']",
        "pkg.torch.onnx.fx_node": "%linear",
        "namespace": ": M/fc: nn.Linear",
        "mine": "stays",
    }
    model, node = model_with(**notes)
    adopt(model)
    assert origin_of(node) == Origin("fc", "nn.Linear", "/somewhere/model.py:41")
    assert node.metadata_props["mine"] == "stays"
    assert len(node.metadata_props) == 4


def test_scoped_names_are_used_where_there_are_no_notes() -> None:
    model, node = model_with()
    adopt(model)
    assert origin_of(node) == Origin("act")


def test_origins_already_there_stay() -> None:
    model, node = model_with(**{"netwright.module": "kept", "pkg.torch.onnx.name_scopes": "['', 'other', 'relu']"})
    adopt(model)
    assert origin_of(node).module == "kept"


def test_a_real_export_keeps_module_class_and_source() -> None:
    torch = pytest.importorskip("torch")

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Sequential(torch.nn.Linear(3, 4))

        def forward(self, x: object) -> object:
            return torch.relu(self.inner(x))

    exported = torch.onnx.export(Small().eval(), (torch.ones(2, 3),), dynamo=True, optimize=False, verbose=False)
    assert exported is not None
    adopt(exported.model)
    gemm = next(node for node in exported.model.graph if node.op_type == "Gemm")
    assert origin_of(gemm).module == "inner.0"
    assert origin_of(gemm).cls == "torch.nn.modules.linear.Linear"
    assert origin_of(gemm).source.rpartition(":")[0].endswith("test_origin.py")
    assert not any(key.startswith(("pkg.", "namespace")) for node in exported.model.graph for key in node.metadata_props)


def test_nodes_that_torch_made_itself_claim_no_module_of_the_users() -> None:
    scopes, classes = "['', '_empty_nn_module_stack_from_metadata_hook', 'sym_size']", "['a.Net', 'a.Hook', 'aten']"
    assert innermost_module(scopes, classes) == ("", "")
    assert source_of_trace('File "torch/fx/passes/runtime_assert.py", line 24, in insert') == ""
