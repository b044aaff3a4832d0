"""Counter-based random numbers per image: the same on every device, in every batch and on every rank."""

import math

import torch
from torch import Tensor

GOLDEN = -0x61C8864680B583EB  # 2^64 over the golden ratio, as int64
MASK = (1 << 23) - 1  # 23 random bits: one less than a float32 holds, as uniform() adds a half to avoid 0 and 1


def mix(numbers: Tensor) -> Tensor:
    """Hash int64 elementwise to int64 (SplitMix64's finaliser: Steele, Lea, Flood 2014)."""
    mixed = numbers + GOLDEN
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        mixed = (mixed ^ shift_right(mixed, shift)) * factor
    return mixed ^ shift_right(mixed, 31)


def shift_right(numbers: Tensor, bits: int) -> Tensor:
    """Shift int64 to the right as if it were unsigned."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)


def epoch_key(seed: int, epoch: int) -> Tensor:
    """Hash seed and epoch into one number, int64 []."""
    return mix(mix(torch.tensor(seed)) + epoch)


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """Return a permutation of `count` indices, int64 [count]: an epoch's order, the same on every device and rank."""
    generator = torch.Generator().manual_seed(int(epoch_key(seed, epoch)))
    return torch.randperm(count, generator=generator)


class CounterRNG:
    """A stream of random numbers for each image of a batch.

    The n-th number of an image is a hash of its key and n (counter-based: Salmon et al. 2011, "Parallel random
    numbers: as easy as 1, 2, 3"), so it does not depend on the rest of the batch.
    """

    def __init__(self, keys: Tensor) -> None:
        """Start a stream for each key, int64 [N], on their device."""
        self.keys = keys
        self.counter = 0

    @classmethod
    def for_images(cls, seed: int, epoch: int, index: Tensor) -> "CounterRNG":
        """Start the streams of the images at `index`, int64 [N], in an epoch of a seed."""
        return cls(mix(epoch_key(seed, epoch) + index))

    def __getitem__(self, index: Tensor) -> "CounterRNG":
        """Return the streams of some of the images, at their current counter."""
        selected = CounterRNG(self.keys[index])
        selected.counter = self.counter
        return selected

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw from the uniform distribution over the open interval (low, high): float32 [N, *shape]."""
        count = math.prod(shape)
        hashes = -(-count // 2)  # two numbers from each
        counters = torch.arange(self.counter, self.counter + hashes, device=self.keys.device)
        self.counter += hashes
        bits = mix(self.keys[:, None] + mix(counters))
        bits = torch.cat([bits & MASK, shift_right(bits, 64 - MASK.bit_length())], dim=1)[:, :count]
        unit = (bits.float() + 0.5) / (MASK + 1)  # exact
        return (low + (high - low) * unit).view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Draw from the standard normal distribution: float32 [N, *shape]."""
        return math.sqrt(2) * torch.erfinv(self.uniform(*shape, low=-1.0))
