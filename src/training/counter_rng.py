"""Random numbers that belong to an image: the same on every device, in every batch and on every rank."""

import math

import torch
from torch import Tensor

GOLDEN = -0x61C8864680B583EB  # 2^64 over the golden ratio, as int64
BITS = (1 << 23) - 1  # of a random number: one less than a float32 holds, for the half that keeps off 0 and 1


def mix(numbers: Tensor) -> Tensor:
    """Hash int64 to int64, each by itself (SplitMix64's finaliser: Steele, Lea, Flood 2014)."""
    mixed = numbers + GOLDEN
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        mixed = (mixed ^ shifted(mixed, shift)) * factor
    return mixed ^ shifted(mixed, 31)


def shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shift int64 to the right as if it had no sign."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)


def epoch_key(seed: int, epoch: int) -> Tensor:
    """Hash seed and epoch into one number, int64 []."""
    return mix(mix(torch.tensor(seed)) + epoch)


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """Permute the numbers below `count`, int64 [count]: the order of an epoch's images on every device and rank."""
    generator = torch.Generator().manual_seed(int(epoch_key(seed, epoch)))
    return torch.randperm(count, generator=generator)


class CounterRNG:
    """A stream of random numbers for each image of a batch.

    The n-th number of an image is a hash of its key and n (counter-based: Salmon et al. 2011, "Parallel random
    numbers: as easy as 1, 2, 3"), so it depends neither on the other images nor on who else draws.
    """

    def __init__(self, keys: Tensor) -> None:
        """Start the streams of some keys, int64 [N], on their device."""
        self.keys = keys
        self.drawn = 0

    @classmethod
    def for_images(cls, seed: int, epoch: int, index: Tensor) -> "CounterRNG":
        """Start the streams of the images at `index`, int64 [N], in an epoch of a seed."""
        return cls(mix(epoch_key(seed, epoch).to(index.device) + index))

    def __getitem__(self, index: Tensor) -> "CounterRNG":
        """Take the streams of some of the images, from where they are now."""
        taken = CounterRNG(self.keys[index])
        taken.drawn = self.drawn
        return taken

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw numbers evenly between `low` and `high`, neither included: float32 [N, *shape]."""
        count = math.prod(shape)
        hashes = -(-count // 2)  # each gives two numbers
        places = torch.arange(self.drawn, self.drawn + hashes, device=self.keys.device)
        self.drawn += hashes
        bits = mix(self.keys[:, None] + mix(places))
        bits = torch.cat([bits & BITS, shifted(bits, 64 - BITS.bit_length())], dim=1)[:, :count]
        share = (bits.float() + 0.5) / (BITS + 1)  # exact
        return (low + (high - low) * share).view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Draw from the normal distribution: float32 [N, *shape]."""
        return math.sqrt(2) * torch.erfinv(self.uniform(*shape, low=-1.0))
