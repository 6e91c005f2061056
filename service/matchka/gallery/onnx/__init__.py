"""A flat index in ONNX Runtime: where the models run on a GPU, galleries need no second CUDA runtime."""
