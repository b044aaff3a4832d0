"""Muon, the optimizer of the convolution filters: orthogonalised momentum."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F
from torch.optim import Optimizer


class Muon(Optimizer):
    """Orthogonalised momentum (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks").

    torch.optim.Muon takes matrices only and iterates in bfloat16, which is slower on matrices this small. Here filters
    [out, in, height, width] are matrices [out, in * height * width].
    """

    def __init__(
        self, filters: Iterable[Parameter], lr: float, momentum: float = 0.6, weight_decay: float = 0.0
    ) -> None:
        """Optimize filters; `weight_decay` is decoupled and scaled by `lr`."""
        super().__init__(filters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every filter that has a gradient, with Nesterov momentum."""
        assert closure is None, "Muon does not reevaluate the loss"
        for group in self.param_groups:
            for filters in group["params"]:
                if filters.grad is not None:
                    self.update(filters, filters.grad, group)
        return None

    def update(self, filters: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Update one layer's filters, given their gradient, both [out, in, height, width]."""
        momentum = self.state[filters].setdefault("momentum", torch.zeros_like(filters))
        momentum.lerp_(gradient, 1 - group["momentum"])
        matrix = gradient.lerp(momentum, group["momentum"]).flatten(1)
        rows, columns = matrix.shape
        scale = max(1.0, rows / columns) ** 0.5
        filters.mul_(1 - group["lr"] * group["weight_decay"])
        filters.add_(orthogonalize(matrix).view(filters.shape), alpha=-group["lr"] * scale)


def orthogonalize(matrix: Tensor, iterations: int = 3) -> Tensor:
    """Bring all singular values of a matrix near 1 (Newton-Schulz; the coefficients are Jordan's).

    Args:
        matrix: float [rows, columns].
        iterations: after three the large singular values of a gradient are between about 0.5 and 1.3.

    Returns:
        float [rows, columns], with the same singular vectors.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.mT if tall else matrix
    wide = F.normalize(wide.flatten(), dim=0).view_as(wide)  # Frobenius norm 1
    for _ in range(iterations):
        gram = wide @ wide.mT
        polynomial = torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        wide = torch.addmm(wide, polynomial, wide, beta=3.4445)
    return wide.mT if tall else wide
