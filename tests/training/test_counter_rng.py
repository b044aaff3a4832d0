"""Random numbers against the published hash, and against the distributions they claim."""

import pytest
import scipy.stats
import torch

from mnist_cnn.training.counter_rng import CounterRNG, epoch_order, mix


def test_the_hash_is_splitmix64() -> None:
    """Hold it to the reference sequence of seed 0, whose n-th number hashes n times the golden number."""
    golden = 0x9E3779B97F4A7C15
    states = torch.tensor([(n * golden + 2**63) % 2**64 - 2**63 for n in range(3)])
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [number % 2**64 for number in mix(states).tolist()] == expected


def test_uniform_and_normal_numbers() -> None:
    rng = CounterRNG.for_images(0, 1, torch.arange(300))
    uniform, low, normal = rng.uniform(7, 11), rng.uniform(99, low=-2, high=3), rng.normal(101)
    assert uniform.shape == (300, 7, 11)
    assert uniform.dtype == torch.float32
    assert 0 < uniform.min() < uniform.max() < 1
    assert scipy.stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 0.001
    assert scipy.stats.kstest(low.flatten().numpy(), "uniform", (-2, 5)).pvalue > 0.001
    assert normal.isfinite().all()
    assert scipy.stats.kstest(normal.flatten().numpy(), "norm").pvalue > 0.001


def test_numbers_of_one_image_and_of_one_place_are_unrelated() -> None:
    rng = CounterRNG.for_images(3, 2, torch.arange(2000))
    numbers = torch.cat([rng.uniform(20), rng.uniform(21)], dim=1)
    for table in (numbers.T, numbers):
        correlation = torch.corrcoef(table[:41])
        assert (correlation - torch.eye(41)).abs().max() < 5 / table.shape[1] ** 0.5


def test_a_number_belongs_to_seed_epoch_image_and_place() -> None:
    index = torch.arange(50)
    first = CounterRNG.for_images(0, 1, index).uniform(6)
    assert torch.equal(first, CounterRNG.for_images(0, 1, index).uniform(6))
    assert torch.equal(first[[7, 3]], CounterRNG.for_images(0, 1, torch.tensor([7, 3])).uniform(6))
    for other in (
        CounterRNG.for_images(1, 1, index),
        CounterRNG.for_images(0, 2, index),
        CounterRNG.for_images(0, 1, index + 50),
    ):
        assert not (other.uniform(6) == first).any()
    going_on = CounterRNG.for_images(0, 1, index)
    going_on.uniform(4)
    part = going_on[torch.tensor([5])]
    assert torch.equal(part.uniform(3), going_on.uniform(3)[5:6])


@pytest.mark.parametrize("count", [1, 1000])
def test_the_order_of_an_epoch(count: int) -> None:
    order = epoch_order(0, 1, count)
    assert sorted(order.tolist()) == list(range(count))
    assert torch.equal(order, epoch_order(0, 1, count))
    assert count == 1 or not torch.equal(order, epoch_order(0, 2, count))
    assert count == 1 or not torch.equal(order, epoch_order(1, 1, count))
