"""Muon's step has the directions of the gradient and a length of its own."""

import pytest
import torch

from mnist_cnn.training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(16, 36), (64, 64), (64, 16)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = torch.linalg.svdvals(matrix)
    result = orthogonalize(matrix, iterations=5)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    seen = left.mT @ result @ right.mT
    torch.testing.assert_close(seen, torch.diag(seen.diagonal()), atol=1e-4, rtol=0)
    large = before > before.max() / 100
    assert seen.diagonal()[large].min() > 0.5
    assert seen.diagonal().max() < 1.3
    torch.testing.assert_close(orthogonalize(1000 * matrix, iterations=5), result, atol=1e-4, rtol=0)


def test_one_step_by_hand() -> None:
    filters = torch.nn.Parameter(torch.ones(2, 1, 3, 3))
    optimizer = Muon([filters], lr=0.5, momentum=0.6, weight_decay=0.1)
    filters.grad = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    nesterov = filters.grad * (1 - 0.6 + 0.6 * 0.4)
    expected = 1 - 0.5 * 0.1 - 0.5 * orthogonalize(nesterov.flatten(1)).view(2, 1, 3, 3)
    optimizer.step()
    torch.testing.assert_close(filters.detach(), expected)


def test_filters_without_a_gradient_stay() -> None:
    filters = torch.nn.Parameter(torch.ones(2, 1, 3, 3))
    Muon([filters], lr=0.5).step()
    assert torch.equal(filters.detach(), torch.ones(2, 1, 3, 3))


def test_it_minimises() -> None:
    filters = torch.nn.Parameter(torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0)))
    target = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    optimizer = Muon([filters], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        ((filters - target) ** 2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert ((filters - target) ** 2).mean() < 0.02
