"""Parts of the trainings of classifier and spotter: configuration, examples, optimizers, checkpoints and tracking.

May import what stands on lower floors; `train.py` and `train_spotter.py` combine them.
"""
