"""Parts of a training: configuration, augmentation, random numbers, optimizers, run directory and tracking.

May import `common`, `models` and `cnn_model`; `train.py` combines them.
"""
