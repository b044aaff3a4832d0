"""What spotter and classifier say of a detection becomes calibrated probabilities."""

import math

import numpy as np
import numpy.typing as npt

from mnist_cnn.models.onnx_model import Floats
from mnist_cnn.pictures.detections import MIN_PROBABILITY

LEAST = 1e-4  # of either's probabilities
PLATT = 3.728, 0.836  # slope and intercept of the spotter's log-odds (Platt 1999), from drawn validation pages
SURE = 0.6  # least probability of a trusted detection: of such digits of drawn documents 99.6 % are right (n = 3,985)


def combine(scores: npt.NDArray[np.float32], probabilities: Floats, weight: float) -> tuple[Floats, float]:
    """Combine the spotter's scores [10] and the classifier's probabilities [10] of a detected digit.

    Returns:
        Probabilities, float64 [10]: their weighted geometric mean; what the calibrated probability of the detection
        lacks to 1 is spread evenly.
        The probability, 0..1, that there is a digit at all. Its odds have the slope of `PLATT` and are such that the
        best class and no digit are even where a detection begins to be read: the most probable reading without a
        constraint is the one that is given.
    """
    log_mean = (1 - weight) * np.log(np.maximum(scores, LEAST)) + weight * np.log(np.maximum(probabilities, LEAST))
    mean = np.exp(log_mean - log_mean.max())
    score = log_odds(float(np.clip(scores.max(), LEAST, 1 - LEAST)))
    probability = 1 / (1 + math.exp(-(PLATT[0] * score + PLATT[1])))
    odds = math.exp(PLATT[0] * (score - log_odds(MIN_PROBABILITY)))
    combined = np.asarray(probability * mean / mean.sum() + (1 - probability) / len(mean), dtype=np.float64)
    return combined, odds / (odds + float(mean.max() / mean.sum()))


def log_odds(probability: float) -> float:
    """Return the log-odds of a probability, 0 < p < 1."""
    return math.log(probability / (1 - probability))
