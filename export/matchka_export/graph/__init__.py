"""Backbone and projection -> one ONNX graph."""
