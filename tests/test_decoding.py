"""Decoding agrees with the enumeration of all readings."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from mnist_cnn.decoding import DOUBT, IMPOSSIBLE, MISSED, Floats, Hypothesis, choose, decode

Enumerated = tuple[dict[str, float], float]  # the best reading of each allowed text, and the sum of all readings


def evidence(seed: int, detections: int) -> tuple[Floats, Floats]:
    """Draw detections, some sure, some faint: joint [N, 10] and absent [N]."""
    rng = np.random.default_rng(seed)
    present = rng.beta(0.7, 0.5, detections).clip(0.01, 0.99)
    return present[:, None] * rng.dirichlet(np.full(10, 0.3), detections).clip(1e-4), 1 - present


def enumerate_all(joint: Floats, absent: Floats, length: int | None, at_least: int | None) -> Enumerated:
    best: dict[str, float] = defaultdict(float)
    total = 0.0
    for used in itertools.product((False, True), repeat=len(joint)):
        places = np.flatnonzero(used)
        if not len(places) or (length is not None and len(places) != length):
            continue
        rest = float(absent[~np.array(used)].prod())
        for digits in itertools.product(range(10), repeat=len(places)):
            text = "".join(map(str, digits))
            if at_least is None or int(text) >= at_least:
                probability = rest * float(joint[places, list(digits)].prod())
                best[text], total = max(best[text], probability), total + probability
    return best, total


def check(found: list[Hypothesis], expected: Enumerated, count: int) -> None:
    best, total = expected
    if total <= IMPOSSIBLE:
        assert found == []
        return
    ranked = sorted(best.items(), key=lambda item: -item[1])[:count]
    assert [one.text for one in found] == [text for text, _ in ranked]
    weights = [probability / (total + DOUBT * (1 - total)) for _, probability in ranked]
    assert [one.probability for one in found] == pytest.approx(weights, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("detections", [1, 2, 3])
def test_the_most_probable_numbers_are_those_of_all_readings(seed: int, detections: int) -> None:
    joint, absent = evidence(seed, detections)
    for length, at_least, count in itertools.product((None, 1, 2, 3), (None, 0, 7, 70, 402, 1000), (1, 5)):
        expected = enumerate_all(joint, absent, length, at_least)
        check(decode(joint, absent, length, at_least, count), expected, count)


def test_five_detections_and_more_alternatives_than_there_are() -> None:
    joint, absent = evidence(3, 5)
    check(decode(joint, absent, 5, 31415, 20), enumerate_all(joint, absent, 5, 31415), 20)
    assert len(decode(joint[:1], absent[:1], 1, 3, 20)) == 7


def test_a_number_says_which_detections_it_is_made_of() -> None:
    joint = np.full((3, 10), 1e-4)
    joint[[0, 1, 2], [4, 7, 2]] = 0.95, 0.3, 0.95
    absent = 1 - joint.sum(axis=1)
    (shorter,), (longer,) = (decode(joint, absent, length, None, 1) for length in (2, 3))
    assert (shorter.text, shorter.used) == ("42", (0, 2))
    assert (longer.text, longer.used) == ("472", (0, 1, 2))


def best_alignment(joint: Floats, absent: Floats, number: str) -> float:
    """Enumerate all ways to lay a number's digits on detections, in order, or to miss them."""
    best = 0.0
    for missed in itertools.product((False, True), repeat=len(number)):
        left = [int(digit) for digit, gone in zip(number, missed, strict=True) if not gone]
        for places in itertools.combinations(range(len(joint)), len(left)):
            unused = [place for place in range(len(joint)) if place not in places]
            found = MISSED ** sum(missed) * joint[list(places), left].prod() * absent[unused].prod()
            best = max(best, float(found))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_listed_numbers_are_aligned_in_the_best_way(seed: int) -> None:
    joint, absent = evidence(seed, 1 + seed % 5)
    numbers = [str(number) for number in np.random.default_rng(seed).integers(0, 10_000, 40)] + ["007", "7"]
    numbers = list(dict.fromkeys(numbers))
    scores = {number: best_alignment(joint, absent, number) for number in numbers}
    total = sum(scores.values())
    found = choose(joint, absent, numbers, 5)
    assert [one.text for one in found] == sorted(numbers, key=lambda number: -scores[number])[:5]
    assert [one.probability for one in found] == pytest.approx(
        [scores[one.text] / (total + DOUBT * (1 - total)) for one in found]
    )
    for one in found:
        laid = [(place, int(digit)) for place, digit in zip(one.used, one.text, strict=True) if place is not None]
        unused = sorted({*range(len(joint))} - {place for place, _ in laid})
        product = MISSED ** one.used.count(None) * absent[unused].prod()
        assert product * np.prod([joint[pair] for pair in laid]) == pytest.approx(scores[one.text])


def test_what_no_reading_allows_is_no_number() -> None:
    joint, absent = evidence(0, 3)
    assert decode(joint, absent, 4, None, 1) == []
    assert decode(joint, absent, None, 1000, 1) == []
    assert decode(joint, absent, 2, 100, 1) == []
    assert decode(joint[:0], absent[:0], None, None, 1) == []
    sure = np.full((4, 10), 1e-9)
    sure[:, 1] = 1 - 1e-6
    assert choose(sure, np.full(4, 1e-9), ["9", "222222"], 2) == []
    assert choose(sure, np.full(4, 1e-9), ["9", "1111"], 2)[0].text == "1111"
