"""Runs a trained network from a .pth file with PyTorch; same interface as `OnnxModel`."""

import hashlib
import importlib.metadata
from pathlib import Path

import torch

from mnist_cnn.common.errors import InputError
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint
from mnist_cnn.models.onnx_model import Floats
from mnist_cnn.pictures.image_io import Pixels

BATCH_SIZE = 500


class TorchModel:
    """A network with its OOD detector; attributes as in `OnnxModel`."""

    def __init__(self, checkpoint: Checkpoint, file: Path) -> None:
        """Build the network of a checkpoint and record the metadata of its file.

        Raises:
            InputError: the training has not finished.
        """
        if checkpoint.ood_detector is None:
            raise InputError(f"{file}: its training has not ended; continue it with --resume, or name another model")
        self.classes = checkpoint.classes
        self.probability_threshold = checkpoint.ood_detector.probability_threshold
        self.ood_threshold = checkpoint.ood_detector.ood_threshold
        self.metadata = {
            "name": file.stem,
            "dataset": checkpoint.dataset,
            "classes": "\n".join(checkpoint.classes),
            "version": importlib.metadata.version("mnist-cnn"),
            "checkpoint_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "temperature": repr(checkpoint.temperature),
            "probability_threshold": repr(self.probability_threshold),
            "ood_threshold": repr(self.ood_threshold),
            **({"trained": checkpoint.trained} if checkpoint.trained else {}),
        }
        self.ood_detector, self.temperature = checkpoint.ood_detector, checkpoint.temperature
        self.network = checkpoint.build_model()

    @torch.inference_mode()
    def infer(self, images: Pixels) -> tuple[Floats, Floats]:
        """Return calibrated probabilities [N, classes] and OOD scores [N] of uint8 images [N, 28, 28]."""
        batches = torch.split(torch.from_numpy(images[:, None]), BATCH_SIZE)
        logits, features = map(torch.cat, zip(*map(self.network.logits_and_features, batches), strict=True))
        probabilities = (logits.double() / self.temperature).softmax(dim=1)
        return probabilities.numpy(), self.ood_detector.score(features).double().numpy()


def load_torch(path: Path) -> TorchModel:
    """Load a trained checkpoint.

    Raises:
        InputError: as in `load_checkpoint`, or its training has not finished.
    """
    return TorchModel(load_checkpoint(path), path)
