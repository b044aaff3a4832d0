"""Train a network for an epoch under torchrun; write what each step did.

It has no batch statistics, which depend on the processes, and no kinks, at which the last bit of a sum decides.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn

from mnist_cnn.cnn_model import Normalize
from mnist_cnn.common.distributed import process_group, rank
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.evaluate import infer_distributed
from mnist_cnn.splits import Split
from mnist_cnn.train import train_steps
from mnist_cnn.training.config import TrainConfig
from mnist_cnn.training.counter_rng import epoch_order
from mnist_cnn.training.learner import build_learner
from mnist_cnn.training.resume import Progress

torch.set_num_threads(1)
with process_group(60):
    digits = load_dataset("digits")
    train = digits.train[torch.arange(1201)]
    config = TrainConfig(device="cpu", precision="float32", batch_size=50, epochs=1, learning_rate=0.003)
    torch.manual_seed(0)
    network = nn.Sequential(
        *(Normalize(0.13, 0.31), nn.Conv2d(1, 8, 5, stride=2), nn.Tanh(), nn.Conv2d(8, 16, 3, stride=2), nn.Tanh()),
        *(nn.Flatten(), nn.Linear(400, 10)),
    )
    learner = build_learner(network, config, len(train))
    steps = [progress for progress, _ in train_steps(learner, train, config, Progress(epoch=1))]
    logits = infer_distributed(network, Split(digits.test.images[:359], digits.test.labels[:359]))
    if rank() == 0:
        result = {
            "losses": [after.loss - before.loss for before, after in zip([Progress(1), *steps], steps, strict=False)],
            "correct": [progress.correct for progress in steps],
            "order": epoch_order(config.seed, 1, len(train)).tolist(),
            "weights": torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).tolist(),
            "logits": logits.tolist(),
        }
        Path(sys.argv[1]).write_text(json.dumps(result))
