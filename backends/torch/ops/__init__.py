"""What computes each ONNX operator on torch tensors, one family a file; importing this package fills the table."""
