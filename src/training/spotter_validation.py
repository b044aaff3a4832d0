"""Validation of a spotter on drawn pages of digits that training never saw: error rates, and calibration."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from mnist_cnn.pictures.detections import Detection, logit
from mnist_cnn.pictures.spotter import Spotter
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.pages import SHAPES, draw_page
from mnist_cnn.synthetic.sheet import Digit

SEED = 1_000_004
MAX_OFFSET = 0.4  # distance of the centres of a detection and its digit, in widths and heights of the digit
MIN_OFFSET = 3.0  # pixels: such a distance is never too far to the side


@dataclass(frozen=True)
class Validation:
    """Detections compared with the digits of pages.

    Attributes:
        digits: number of targets.
        missed: targets without a detection.
        wrong: targets detected as another digit.
        false: detections where no digit is.
        outcomes: probability of each detection, and whether it is right.
    """

    digits: int
    missed: int
    wrong: int
    false: int
    outcomes: tuple[tuple[float, bool], ...]


def validate(spotter: Spotter, glyphs: Glyphs, pages: int) -> Validation:
    """Compare detections and digits on drawn pages."""
    numbers = tqdm(range(pages), desc="validation", unit=" pages", disable=None)
    drawn = (draw_page(glyphs, SEED, number, SHAPES[number % len(SHAPES)]) for number in numbers)
    return total([compare(page.digits, spotter.spot(page.grey)[0]) for page in drawn])


def total(parts: Sequence[Validation]) -> Validation:
    """Add up the comparisons of pages."""
    return Validation(
        digits=sum(part.digits for part in parts),
        missed=sum(part.missed for part in parts),
        wrong=sum(part.wrong for part in parts),
        false=sum(part.false for part in parts),
        outcomes=tuple(outcome for part in parts for outcome in part.outcomes),
    )


def compare(digits: Sequence[Digit], detections: Sequence[Detection]) -> Validation:
    """Match detections with the digits of a page; each digit is matched once, one of its own label if possible.

    Detections of digits that are no targets count neither way.
    """
    counts: Counter[str] = Counter()
    unmatched, outcomes = list(digits), []
    for one in detections:
        near = [digit for digit in unmatched if is_at(one, digit)]
        if near:
            best = max(near, key=lambda digit: (digit.label == one.scores.argmax(), digit.target))
            unmatched.remove(best)
            right = bool(best.label == one.scores.argmax())
            counts["wrong"] += best.target and not right
            outcomes += [(one.probability, right)] if best.target else []
        elif not any(is_at(one, digit) and not digit.target for digit in digits):
            counts["false"] += 1
            outcomes.append((one.probability, False))
    targets, missed = (sum(digit.target for digit in some) for some in (digits, unmatched))
    return Validation(targets, missed, counts["wrong"], counts["false"], tuple(outcomes))


def is_at(detection: Detection, digit: Digit) -> bool:
    """Return whether a detection is where a digit is."""
    left, top, right, bottom = digit.box
    x, y = detection.centre
    beside = abs(x - (left + right) / 2) <= max(MAX_OFFSET * (right - left), MIN_OFFSET)
    return beside and abs(y - (top + bottom) / 2) <= MAX_OFFSET * (bottom - top)


def calibrate(outcomes: Sequence[tuple[float, bool]]) -> tuple[float, float] | None:
    """Fit slope and intercept that map the log-odds of a probability to those of being right (Platt 1999).

    Returns:
        The two, or None unless some detections are right and some wrong.
    """
    right = [is_right for _, is_right in outcomes]
    if len({*right}) < 2:
        return None
    logits = logit(np.array([probability for probability, _ in outcomes], dtype=np.float32))
    fitted = LogisticRegression(C=1e6).fit(logits[:, None], right)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def report(validation: Validation) -> str:
    """Format the error rates, as shares of the digits, and the calibration."""
    rates = (
        f"{name} {getattr(validation, name) / max(validation.digits, 1):.2%}" for name in ("missed", "wrong", "false")
    )
    fitted = calibrate(validation.outcomes)
    calibration = "calibration: slope {:.3f}, intercept {:.3f}".format(*fitted) if fitted else "too few to calibrate"
    return f"{', '.join(rates)} of {validation.digits:,} digits on drawn pages\n{calibration}"
