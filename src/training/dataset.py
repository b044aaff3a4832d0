"""The dataset that the settings of a training name; images of the old one are mixed in where a model is fine-tuned."""

from pathlib import Path

from mnist_cnn.data_loader import load_dataset
from mnist_cnn.models.checkpoint import load_checkpoint
from mnist_cnn.splits import Dataset, check_testable, rehearse, with_classes
from mnist_cnn.training.config import TrainConfig


def load_training_data(config: TrainConfig) -> Dataset:
    """Load the dataset to train on, with rehearsal where `config.init_from` names a model.

    Raises:
        InputError: it cannot be read, trained and tested on, or has classes that the model does not have.
    """
    dataset = load_dataset(config.dataset, config.data_dir)
    check_testable(dataset)
    if config.init_from:
        return with_rehearsal(config.init_from, dataset, config.data_dir, config.network)
    return dataset


def with_rehearsal(path: Path, dataset: Dataset, data_dir: Path | None, network: str | None = None) -> Dataset:
    """Map a dataset's classes to a model's, and mix in images that the model was trained on (rehearsal).

    Raises:
        InputError: one of the two datasets has classes that the model does not have.
    """
    model = load_checkpoint(path, network)
    dataset = with_classes(dataset, model.classes, path)
    return rehearse(dataset, with_classes(load_dataset(model.dataset, data_dir), model.classes, path))
