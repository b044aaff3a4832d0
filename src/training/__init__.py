"""What one training needs: its settings, augmentation, random numbers, optimizers, checkpoints and tracking.

May import `common`, `models` and `cnn_model`; `train.py` puts it together.
"""
