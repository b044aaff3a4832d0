"""The spotter's network and loss, against oracles, and its export."""

import itertools

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from torch import Tensor

from mnist_cnn.common.errors import InputError
from mnist_cnn.training.spotter_export import MAX_DIFFERENCE, check_equal, to_onnx
from mnist_cnn.training.spotter_net import SpotterNet, spotter_loss

Values = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def net() -> SpotterNet:
    """A network whose batch norms have seen something."""
    torch.manual_seed(0)
    net = SpotterNet()
    for _ in range(3):
        net(torch.randn(4, 1, 64, 64))
    return net.eval()


@pytest.fixture(scope="module")
def exported(net: SpotterNet) -> bytes:
    return to_onnx(net, {"steps": "0"})


@pytest.mark.parametrize("shape", [(8, 8), (64, 208), (160, 88)])
def test_each_cell_of_4_x_4_pixels_has_14_values(net: SpotterNet, shape: tuple[int, int]) -> None:
    output = net(torch.randn(2, 1, *shape))
    assert output.shape == (2, 14, shape[0] // 4, shape[1] // 4)
    assert output.isfinite().all()


def test_an_untrained_network_expects_a_digit_in_one_of_a_hundred_cells() -> None:
    bias = SpotterNet().head.bias
    assert bias is not None
    assert bias.detach()[:10].sigmoid().numpy() == pytest.approx(0.01, rel=0.01)


def random_targets(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(2, 14, 3, 5, generator=generator)
    heatmaps = torch.rand(2, 10, 3, 5, generator=generator) * 0.9
    mask = (torch.rand(2, 3, 5, generator=generator) > 0.3).float()
    centres = torch.tensor([[0, 3, 1, 2], [0, 7, 2, 4], [1, 0, 0, 0]])
    for image, label, row, column in centres.tolist():
        heatmaps[image, label, row, column] = 1
    return output, heatmaps, mask, centres, torch.randn(3, 4, generator=generator)


def slow_loss(
    output: Values, heatmaps: Values, mask: Values, centres: list[list[int]], boxes: list[list[float]]
) -> float:
    """Compute the loss value by value, as the papers write it."""
    total = 0.0
    for image, label, row, column in itertools.product(*map(range, heatmaps.shape)):
        p = 1 / (1 + np.exp(-output[image, label, row, column]))
        y = heatmaps[image, label, row, column]
        focal = (1 - p) ** 2 * np.log(p) if y == 1 else (1 - y) ** 4 * p**2 * np.log(1 - p)
        total -= mask[image, row, column] * focal
    for (image, label, row, column), box in zip(centres, boxes, strict=True):
        values = output[image, :, row, column]
        total += 0.5 * np.abs(values[10:] - box).sum()
        total -= 0.2 * (values[label] - np.log(np.exp(values[:10]).sum()))
    return float(total / len(centres))


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_equals_one_computed_value_by_value(seed: int) -> None:
    output, heatmaps, mask, centres, boxes = random_targets(seed)
    arrays = output.double().numpy(), heatmaps.double().numpy(), mask.double().numpy()
    expected = slow_loss(*arrays, centres.tolist(), boxes.tolist())
    assert spotter_loss(output, heatmaps, mask, centres, boxes).item() == pytest.approx(expected, rel=1e-5)


def test_pages_without_digits_have_a_loss() -> None:
    output, heatmaps, mask, centres, boxes = random_targets(0)
    output.requires_grad_()
    loss = spotter_loss(output, heatmaps * 0, mask, centres[:0], boxes[:0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() > 0
    assert output.grad is not None
    assert output.grad.isfinite().all()


def test_what_is_masked_has_no_gradient() -> None:
    output, heatmaps, mask, centres, boxes = random_targets(1)
    output.requires_grad_()
    spotter_loss(output, heatmaps * 0, mask, centres[:0], boxes[:0]).backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert (output.grad.abs().sum(dim=1)[mask == 0] == 0).all()
    assert (output.grad[:, :10].abs().sum(dim=1)[mask == 1] > 0).all()


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    net = SpotterNet()
    _, *targets = random_targets(0)
    heatmaps = torch.zeros(2, 10, 8, 8)
    heatmaps[:, :, :3, :5] = targets[0]
    loss = spotter_loss(net(torch.randn(2, 1, 32, 32)), heatmaps, torch.ones(2, 8, 8), targets[2], targets[3])
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("shape", [(8, 8), (8, 400), (64, 208), (256, 16), (504, 312)])
def test_onnx_equals_pytorch_at_any_size(net: SpotterNet, exported: bytes, shape: tuple[int, int]) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    contrast = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(1))
    (output,) = session.run(None, {"contrast": contrast.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(output, net(contrast).numpy(), atol=MAX_DIFFERENCE)
    assert session.get_modelmeta().custom_metadata_map == {"steps": "0"}


def test_a_file_that_computes_something_else_is_refused(exported: bytes) -> None:
    torch.manual_seed(1)
    with pytest.raises(InputError, match=r"differs from PyTorch's by .* no file was written"):
        check_equal(exported, SpotterNet().eval())
    assert b"/src/" not in exported, "no paths of this machine"
