"""What others train and how, rebuilt from published facts; each takes raw uint8 images and scores the test split."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from sklearn.base import ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adadelta, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Samples

from mnist_cnn.splits import Dataset, Split

MEAN, STD = 0.1307, 0.3081


@dataclass(frozen=True)
class Result:
    """One finished training: `seconds` from raw images in memory to the accuracy on the test split."""

    accuracy: float
    seconds: float
    seconds_to_99: float | None
    """To the end of the first epoch with 99 %, None if there was none; scoring the epochs before is not counted."""
    parameters: int


def tuomaso(dataset: Dataset, seed: int) -> Result:
    """Train one epoch as tuomaso/train_mnist_fast (2021) does: everything in memory, Adam, one cycle to 0.01."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    train, test = in_memory(dataset.train), in_memory(dataset.test)
    model = nn.Sequential(
        *(nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10)),
    )
    optimizer = Adam(model.parameters(), lr=0.01, betas=(0.7, 0.9))
    scheduler = OneCycleLR(optimizer, 0.01, total_steps=-(-len(train[1]) // 256))
    for index in torch.split(torch.randperm(len(train[1])), 256):
        step(model, optimizer, train[0][index], train[1][index])
        scheduler.step()
    accuracy = correct(model, zip(torch.split(test[0], 1000), torch.split(test[1], 1000), strict=True)) / len(test[1])
    seconds = time.perf_counter() - start
    return Result(accuracy, seconds, seconds if accuracy >= 0.99 else None, count(model))


def pytorch_examples(dataset: Dataset, seed: int) -> Result:
    """Train as pytorch/examples/mnist does, a sample at a time, up to 14 epochs; stop at the first with 99 %."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
    )
    optimizer = Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    return by_epochs(model, optimizer, dataset, epochs=14, stop_at_99=True, scheduler=scheduler)


def plain_ten_epochs(dataset: Dataset, seed: int) -> Result:
    """Train the recipe most introductions show: two 5x5 convolutions, Adam, a sample at a time, ten epochs."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    return by_epochs(model, Adam(model.parameters(), lr=1e-3), dataset, epochs=10)


def nearest_neighbours(dataset: Dataset, _seed: int) -> Result:
    """Vote of the three nearest training images, weighted by distance."""
    return classical(KNeighborsClassifier(3, weights="distance", n_jobs=-1), dataset)


def support_vectors(dataset: Dataset, _seed: int) -> Result:
    """Fit a support vector machine with an RBF kernel of scikit-learn's width and C 10."""
    return classical(SVC(C=10, cache_size=2000), dataset)


def extra_trees(dataset: Dataset, seed: int) -> Result:
    """Fit 500 extremely randomised trees."""
    return classical(ExtraTreesClassifier(500, n_jobs=-1, random_state=seed), dataset)


PEERS: dict[str, Callable[[Dataset, int], Result]] = {
    "tuomaso": tuomaso,
    "pytorch/examples": pytorch_examples,
    "plain, 10 epochs": plain_ten_epochs,
    "k-NN": nearest_neighbours,
    "RBF SVM": support_vectors,
    "ExtraTrees": extra_trees,
}


def in_memory(split: Split) -> tuple[Tensor, Tensor]:
    """Normalise a whole split at once: float32 [N, 1, 28, 28] and int64 [N]."""
    return (split.images.float() / 255 - MEAN) / STD, split.labels


class OneByOne(Samples[tuple[Tensor, int]]):
    """A picture a sample, decoded and normalised when asked for, as torchvision's MNIST does it."""

    def __init__(self, split: Split) -> None:
        """Keep the raw images."""
        self.images, self.labels = split.images.squeeze(1).numpy(), split.labels.tolist()

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return float32 [1, 28, 28] and its label."""
        pixels = np.array(Image.fromarray(self.images[index]))
        return (torch.from_numpy(pixels)[None].float().div(255) - MEAN) / STD, self.labels[index]


def step(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> None:
    """Update the weights once."""
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@torch.inference_mode()
def correct(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> int:
    """Count right answers, in eval mode."""
    model.eval()
    right = sum(int((model(images).argmax(dim=1) == labels).sum()) for images, labels in batches)
    model.train()
    return right


def count(model: nn.Module) -> int:
    """Count the parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def by_epochs(
    model: nn.Module,
    optimizer: Optimizer,
    dataset: Dataset,
    epochs: int,
    stop_at_99: bool = False,
    scheduler: LRScheduler | None = None,
) -> Result:
    """Train with a per-sample loader and batches of 64, scoring each epoch; only the last score is in `seconds`."""
    train, test = DataLoader(OneByOne(dataset.train), 64, shuffle=True), DataLoader(OneByOne(dataset.test), 1000)
    seconds, to_99 = 0.0, None
    for _ in range(epochs):
        start = time.perf_counter()
        for images, labels in train:
            step(model, optimizer, images, labels)
        if scheduler:
            scheduler.step()
        seconds += time.perf_counter() - start
        start = time.perf_counter()
        accuracy = correct(model, iter(test)) / len(dataset.test)
        scoring = time.perf_counter() - start
        if accuracy >= 0.99 and to_99 is None:
            to_99 = seconds + scoring
            if stop_at_99:
                break
    return Result(accuracy, seconds + scoring, to_99, count(model))


def classical(classifier: ClassifierMixin, dataset: Dataset) -> Result:
    """Fit a scikit-learn classifier on pixels in 0..1 and score it."""
    start = time.perf_counter()
    train, test = (
        (s.images.flatten(1).numpy() / np.float32(255), s.labels.numpy()) for s in (dataset.train, dataset.test)
    )
    accuracy = float(classifier.fit(*train).score(*test))
    seconds = time.perf_counter() - start
    return Result(accuracy, seconds, seconds if accuracy >= 0.99 else None, 0)
