"""Trained networks, on disk and in memory: .pth and .onnx files, and out-of-distribution detection.

May import `common`, `pictures`, `cnn_model` and `splits`, and nothing of training.
"""
