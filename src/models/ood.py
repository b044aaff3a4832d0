"""Out-of-distribution detection: how unlike the training images an image is, and which predictions to trust."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mnist_cnn.cnn_model import ModelConfig
from mnist_cnn.own_network import Network, OwnConfig
from mnist_cnn.splits import Split, batches

PASS_RATE = 0.995  # share of the validation images that pass both thresholds
PRECISION = 0.997  # share of the trusted predictions that are right, where validation images of no class are given
SHARES = torch.linspace(0.9, 1, 41)  # of the right predictions that pass the OOD threshold, to choose from


@dataclass(frozen=True)
class OODDetector:
    """An out-of-distribution score, and the thresholds for trusted predictions.

    The score is the squared Mahalanobis distance to the nearest class mean, with one covariance for all classes (Lee
    et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples", section 2.1).

    Attributes:
        means: float32 [classes, D], class means of the features of `CNN.logits_and_features`.
        whitening: float32 [D, D]; whitening @ whitening.T is the inverse covariance.
        ood_threshold: maximum score of a trusted prediction.
        probability_threshold: minimum probability of a trusted prediction, 0..1.
    """

    means: Tensor
    whitening: Tensor
    ood_threshold: float
    probability_threshold: float

    def check(self, model: ModelConfig | OwnConfig) -> None:
        """Check shapes, dtypes and ranges against a network; how many features one from outside has is not known.

        Raises:
            ValueError: one is wrong.
        """
        size = feature_count(model) if isinstance(model, ModelConfig) else len(self.whitening)
        shapes = tuple(self.means.shape), tuple(self.whitening.shape)
        if shapes != ((model.classes, size), (size, size)):
            raise ValueError(f"ood_detector has shapes {shapes}")
        for tensor in (self.means, self.whitening):
            if tensor.dtype != torch.float32 or not tensor.isfinite().all():
                raise ValueError("ood_detector is not finite, or not torch.float32")
        if not (0 < self.ood_threshold < math.inf and 0 <= self.probability_threshold <= 1):
            raise ValueError(f"ood_detector has thresholds {self.ood_threshold} and {self.probability_threshold}")

    def score(self, features: Tensor) -> Tensor:
        """Return the out-of-distribution score [N] of features [N, D]."""
        whitened = (features @ self.whitening)[:, None] - self.means @ self.whitening
        return whitened.square().sum(dim=2).amin(dim=1)

    def trusts(self, probability: Tensor, score: Tensor) -> Tensor:
        """Return whether to trust each prediction, bool [N], by their probabilities [N] and scores [N]."""
        return (probability >= self.probability_threshold) & (score <= self.ood_threshold)


def feature_count(model: ModelConfig) -> int:
    """Return the number of features of `CNN.logits_and_features`."""
    widths = [width for stage in model.stages for width in stage]
    return model.members * sum(widths[1:] or widths)


class WithOODScore(nn.Module):
    """A network that also returns the out-of-distribution score."""

    def __init__(self, network: Network, ood_detector: OODDetector) -> None:
        """Combine the two."""
        super().__init__()
        self.network, self.ood_detector = network, ood_detector

    def forward(self, images: Tensor) -> Tensor:
        """Return logits and score, float32 [N, classes + 1] on the CPU, of images as in `CNN.forward`."""
        logits, features = (part.float().cpu() for part in self.network.logits_and_features(images))
        return torch.cat([logits, self.ood_detector.score(features)[:, None]], dim=1)


def fit_ood_detector(model: Network, train: Split, val: Split, temperature: float) -> OODDetector:
    """Fit means and covariance to the training images, and thresholds to the validation images.

    `PASS_RATE` of these pass or, if some are of no class (labels below 0), as many right predictions as can be without
    the trusted ones being right less often than `PRECISION`. A class without training images gets the mean of another
    class, which changes no score.
    """
    model.eval()
    features, labels = logits_and_features(model, train)[1], train.labels.cpu()
    present = set(labels.tolist())
    sources = [label if label in present else min(present) for label in range(model.config.classes)]
    means = torch.stack([features[labels == label].mean(dim=0) for label in sources])
    residuals = (features - means[labels]).double()
    covariance = residuals.T @ residuals / len(residuals)
    covariance += (1e-3 * covariance.diag().mean()).clamp(min=1e-12) * torch.eye(len(covariance))
    whitening = torch.linalg.cholesky(torch.linalg.inv(covariance)).float()
    detector = OODDetector(means, whitening, float("inf"), 0.0)
    logits, features = logits_and_features(model, val)
    probability, score = (logits / temperature).softmax(dim=1).amax(dim=1), detector.score(features)
    labels = val.labels.cpu()
    if (labels < 0).any():
        return OODDetector(means, whitening, *precise_thresholds(probability, score, logits.argmax(dim=1) == labels))
    share = share_per_threshold(probability, score)
    return OODDetector(means, whitening, score.quantile(share).item(), probability.quantile(1 - share).item())


def share_per_threshold(probability: Tensor, score: Tensor) -> float:
    """Find by bisection the share to pass each threshold so that a share of `PASS_RATE` passes both."""
    low, high = PASS_RATE, 1.0
    for _ in range(20):
        share = (low + high) / 2
        passing = (score <= score.quantile(share)) & (probability >= probability.quantile(1 - share))
        low, high = (share, high) if passing.float().mean() < PASS_RATE else (low, share)
    return high


def precise_thresholds(probability: Tensor, score: Tensor, right: Tensor) -> tuple[float, float]:
    """Choose the thresholds of score and probability that trust the most right predictions with `PRECISION`.

    Args:
        probability, score: of each prediction, [N].
        right: whether it is, bool [N]; false for images of no class.

    Returns:
        Maximum score and minimum probability; the largest of each if no thresholds reach the precision.
    """
    best, thresholds = 0, (score.max().item(), probability.max().item())
    for limit in score[right].quantile(SHARES).tolist():
        near = score <= limit
        by_probability, order = probability[near].sort(descending=True, stable=True)
        found = right[near][order].cumsum(dim=0)
        precise = found >= PRECISION * torch.arange(1, len(found) + 1)
        last = int(precise.nonzero().max()) if precise.any() else 0
        if found[last] > best and precise[last]:
            best, thresholds = int(found[last]), (limit, by_probability[last].item())
    return thresholds


@torch.inference_mode()
def logits_and_features(model: Network, split: Split) -> tuple[Tensor, Tensor]:
    """Return logits [N, classes] and features [N, D] of a split, float32 on the CPU."""
    device = next(model.parameters()).device
    with tqdm(total=len(split), desc="OOD detector", unit=" images", unit_scale=True, leave=False, disable=None) as bar:
        parts = []
        for batch in batches(split, 1000):
            parts.append(model.logits_and_features(batch.images.to(device)))
            bar.update(len(batch))
    logits, features = zip(*parts, strict=True)
    return torch.cat(logits).cpu(), torch.cat(features).cpu()
