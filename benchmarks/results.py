"""What benchmarks do with their results."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from mnist_cnn.common.files import atomic_write


def keep(output: Path, name: str, result: object, text: str) -> None:
    """Write a result as NAME.json and its table as NAME.md, and print the table."""
    with atomic_write(output / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
    (output / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def percent(shares: Sequence[float], digits: int) -> str:
    """Write mean and standard deviation of shares, in percent; one has no deviation."""
    deviation = f" ± {100 * statistics.stdev(shares):.{digits}f}" if len(shares) > 1 else ""
    return f"{100 * statistics.mean(shares):.{digits}f}{deviation}"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Write a median and its range."""
    middle, low, high = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"
