"""Recognises files that are not ONNX, so that the error can say what they are."""

from __future__ import annotations

_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive, such as a PyTorch checkpoint or a zipped model", "Unzip it, or export the PyTorch model to ONNX."),
    (0, b"\x80\x02", "a Python pickle, such as a PyTorch checkpoint", "Load it in PyTorch and export that model to ONNX."),
    (0, b"\x80\x03", "a Python pickle", "Load it in Python and export that model to ONNX."),
    (0, b"\x80\x04", "a Python pickle", "Load it in Python and export that model to ONNX."),
    (0, b"\x80\x05", "a Python pickle", "Load it in Python and export that model to ONNX."),
    (0, b"\x1f\x8b", "gzip data", "Unpack it first."),
    (0, b"\x89HDF", "an HDF5 file, such as a Keras model", "Convert it with tf2onnx."),
    (0, b"\x93NUMPY", "a numpy array", "Name the model's .onnx file instead."),
    (0, b"GGUF", "a GGUF file", "Export the original model to ONNX."),
    (4, b"TFL3", "a TensorFlow Lite model", "Convert it with tf2onnx."),
    (4, b"ORTM", "an ONNX Runtime (.ort) model", "Use the .onnx file it was made from."),
    (8, b'{"', "a safetensors file: weights without a graph", "Load the model in PyTorch and export it to ONNX."),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch the file with `git lfs pull`."),
)


def foreign_format(head: bytes) -> tuple[str, str] | None:
    """What a file that begins so is, if it is certainly not ONNX, and what to do about it.

    Args:
        head: the first bytes, 64 or more where the file has them.
    """
    for offset, magic, what, remedy in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return what, remedy
    text = head.lstrip()
    if text[:1] in (b"{", b"[", b"<") and _is_text(head):
        return "a text file (JSON, XML or ONNX text)", "Name a binary .onnx file; text is parsed with onnx.parser.parse_model."
    if len(head) >= 8 and _is_text(head):
        return "a text file", "Name a binary .onnx file."
    return None


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
