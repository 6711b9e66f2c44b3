"""ONNX graphs, read and tidied: what edges and runtimes know alike."""
