"""How much a picture resembles the digits a network was trained on: what it should not be trusted with."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mnist_cnn.cnn_model import ModelConfig, Network
from mnist_cnn.data_loader import Split, batches

PASS = 0.995  # share of the validation digits that an answer may be trusted for


@dataclass(frozen=True)
class Familiarity:
    """Where digits lie in a network, and how far from there, or how sure, an answer is no longer trusted.

    The distance is Mahalanobis' to the nearest class mean, with one covariance for all classes (Lee et al. 2018,
    "A Simple Unified Framework for Detecting Out-of-Distribution Samples", section 2.1).

    Attributes:
        means: float32 [classes, D], of what `CNN.describe` gives.
        whitening: float32 [D, D]; times its transpose it is the inverse covariance.
        most_distance: of a trusted answer.
        least_probability: of a trusted answer, 0..1.
    """

    means: Tensor
    whitening: Tensor
    most_distance: float
    least_probability: float

    def check(self, model: ModelConfig) -> None:
        """Check that this fits a network.

        Raises:
            ValueError: it does not.
        """
        widths = [width for stage in model.stages for width in stage]
        size = model.members * sum(widths[1:] or widths)
        shapes = tuple(self.means.shape), tuple(self.whitening.shape)
        if shapes != ((model.classes, size), (size, size)):
            raise ValueError(f"familiarity has shapes {shapes}")
        for tensor in (self.means, self.whitening):
            if tensor.dtype != torch.float32 or not tensor.isfinite().all():
                raise ValueError("familiarity is not finite, or not torch.float32")
        if not (0 < self.most_distance < math.inf and 0 <= self.least_probability <= 1):
            raise ValueError(f"familiarity has limits {self.most_distance} and {self.least_probability}")

    def distance(self, description: Tensor) -> Tensor:
        """Return the squared distance [N] of descriptions [N, D] to the nearest class mean."""
        places = (description @ self.whitening)[:, None] - self.means @ self.whitening
        return places.square().sum(dim=2).amin(dim=1)

    def trusted(self, probability: Tensor, distance: Tensor) -> float:
        """Return the share 0..1 of answers to be trusted, by the probability [N] and the distance [N] of each."""
        trusted = (probability >= self.least_probability) & (distance <= self.most_distance)
        return float(trusted.double().mean())


class WithDistance(nn.Module):
    """A network that puts the distance to what it knows beside the logits, in one pass."""

    def __init__(self, network: Network, familiarity: Familiarity) -> None:
        """Keep both."""
        super().__init__()
        self.network, self.familiarity = network, familiarity

    def forward(self, images: Tensor) -> Tensor:
        """Map images as `CNN.forward` takes them to logits and a distance each, float32 [N, classes + 1] on the CPU."""
        logits, description = (part.float().cpu() for part in self.network.describe(images))
        return torch.cat([logits, self.familiarity.distance(description)[:, None]], dim=1)


def fit_familiarity(model: Network, train: Split, val: Split, temperature: float) -> Familiarity:
    """Measure means and covariance on training images, and choose limits so that 99.5 % of validation pass.

    A class without an image gets the mean of another, which changes no distance.
    """
    model.eval()
    known, labels = describe(model, train)[1], train.labels.cpu()
    there = set(labels.tolist())
    places = [digit if digit in there else min(there) for digit in range(model.config.classes)]
    means = torch.stack([known[labels == digit].mean(dim=0) for digit in places])
    residuals = (known - means[labels]).double()
    covariance = residuals.T @ residuals / len(residuals)
    covariance += 1e-3 * covariance.diag().mean() * torch.eye(len(covariance))
    whitening = torch.linalg.cholesky(torch.linalg.inv(covariance)).float()
    unlimited = Familiarity(means, whitening, float("inf"), 0.0)
    logits, description = describe(model, val)
    probability, distance = (logits / temperature).softmax(dim=1).amax(dim=1), unlimited.distance(description)
    share = both_pass(probability, distance)
    return Familiarity(means, whitening, distance.quantile(share).item(), probability.quantile(1 - share).item())


def both_pass(probability: Tensor, distance: Tensor) -> float:
    """Find the share that may pass either limit so that 99.5 % pass both."""
    low, high = PASS, 1.0
    for _ in range(20):
        share = (low + high) / 2
        passing = (distance <= distance.quantile(share)) & (probability >= probability.quantile(1 - share))
        low, high = (share, high) if passing.float().mean() < PASS else (low, share)
    return high


@torch.inference_mode()
def describe(model: Network, split: Split) -> tuple[Tensor, Tensor]:
    """Return logits [N, classes] and descriptions [N, D] of a split, float32 on the CPU."""
    device = next(model.parameters()).device
    with tqdm(
        total=len(split), desc="limits of trust", unit=" images", unit_scale=True, leave=False, disable=None
    ) as bar:
        parts = []
        for batch in batches(split, 1000):
            parts.append(model.describe(batch.images.to(device)))
            bar.update(len(batch))
    logits, descriptions = zip(*parts, strict=True)
    return torch.cat(logits).cpu(), torch.cat(descriptions).cpu()
