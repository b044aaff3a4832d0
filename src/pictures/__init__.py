"""Reads any picture file, finds the digits in it and makes 28x28 images in MNIST's style of them.

May import `common`, but not PyTorch: the spotter is an .onnx file.
"""
