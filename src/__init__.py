"""MNIST CNN Classifier: files -> uint8 tensors -> logits -> report -> checkpoint."""
