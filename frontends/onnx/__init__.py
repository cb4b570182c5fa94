"""ONNX files, from opset 7 on, as Programs."""

from netwright.frontends.onnx.load import load_onnx

__all__ = ["load_onnx"]
