"""What the machine can do at most: the rate of a large matrix product."""

import time

import torch


def matrix_rate(rounds: int, dtype: torch.dtype = torch.float32) -> float:
    """Return the floating-point operations a second of a 2048x2048 product, the best of some after one warm-up."""
    one, seconds = torch.randn(2048, 2048, dtype=dtype), []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        one @ one
        seconds.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(seconds[1:])
