"""A trained model as the graph that is exported: folded for speed, calibrated, with its out-of-distribution score."""

import copy
import itertools

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mnist_cnn.cnn_model import CNN, ClassMaps, QuantizedConv2d
from mnist_cnn.common.errors import InputError
from mnist_cnn.models.onnx_export import export_graph
from mnist_cnn.models.ood import OODDetector
from mnist_cnn.models.torch_model import TorchModel
from mnist_cnn.own_network import Network, OwnNetwork, described


def to_onnx(model: TorchModel, stride: bool = True) -> onnx.ModelProto:
    """Export a model to a graph from uint8 [N, 28, 28] `pixels` to `logits`, `probabilities` and `ood_score`.

    Args:
        model: the model, with temperature and OOD detector.
        stride: whether to fold space-to-depth into the first convolution: faster in float32, slower in int8.
    """
    exported = Exported(model.network, model.temperature, model.ood_detector, stride).eval()
    example = torch.zeros(2, 28, 28, dtype=torch.uint8)
    shapes = ({0: torch.export.Dim("N", min=1)},)
    try:
        return export_graph(exported, example, "pixels", ["logits", "probabilities", "ood_score"], shapes)
    except Exception as error:
        if not isinstance(model.network, OwnNetwork):
            raise
        raise InputError(f"PyTorch cannot export {model.network.config.network}: {described(error)}") from error


class Exported(nn.Module):
    """The exported computation: logits, calibrated probabilities and out-of-distribution score."""

    def __init__(self, network: Network, temperature: float, ood_detector: OODDetector, stride: bool) -> None:
        """Fold a copy; `stride` as in `to_onnx`."""
        super().__init__()
        self.network = copy.deepcopy(network)
        fold_padding(self.network)
        fold_batch_norm(self.network)
        if stride:
            fold_space_to_depth(self.network)
        self.temperature = temperature
        self.ood_detector = ood_detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map raw pixels, uint8 [N, 28, 28], to logits and probabilities [N, classes] and OOD scores [N]."""
        logits, features = self.network.logits_and_features(pixels[:, None])
        return logits, (logits / self.temperature).softmax(dim=1), self.ood_detector.score(features)


def fold_padding(network: Network) -> None:
    """Give each first convolution filters of zeros for the channels that the next block pads; make class maps linear.

    Runtimes and C then need no operation that the other networks do not have.
    """
    for member in members(network):
        if isinstance(member.classifier, ClassMaps):
            member.classifier = member.classifier.linear()
        if channels := member.config.padding:
            for layer in itertools.takewhile(lambda it: not isinstance(it, nn.ReLU), itertools.chain(*member.stages)):
                widen(layer, channels)


def widen(layer: nn.Module, channels: int) -> None:
    """Append channels whose output is zero to a convolution or a batch norm."""
    for name, values in (*layer.named_parameters(), *layer.named_buffers()):
        if values.ndim:  # not a batch norm's count of batches
            filler = 1 if name == "running_var" else 0
            padded = F.pad(values.detach(), (0, 0) * (values.ndim - 1) + (0, channels), value=filler)
            setattr(layer, name, nn.Parameter(padded) if isinstance(values, nn.Parameter) else padded)


def fold_batch_norm(network: Network) -> None:
    """Fold every batch norm into its convolution, and move ReLU before pooling, where runtimes fuse it.

    A `RecurrentBlock` keeps its batch norm: its convolution is shared with blocks of other statistics.
    """
    for member in members(network):
        for number, stage in enumerate(member.stages):
            layers: list[nn.Module] = []
            assert isinstance(stage, nn.Sequential)
            for layer in stage:  # not children(), which skips a repeated module
                if isinstance(layer, nn.BatchNorm2d):
                    layers += fused(layers, layer)
                elif not isinstance(layer, nn.ReLU):
                    layers.append(layer)
            member.stages[number] = nn.Sequential(*layers)


def fused(layers: list[nn.Module], norm: nn.BatchNorm2d) -> list[nn.Module]:
    """Remove a convolution, and its max pooling, from the end of a list; return them fused with batch norm and ReLU.

    A batch norm with a negative scale does not commute with max pooling, and is kept.
    """
    pool = [layers.pop()] if isinstance(layers[-1], nn.MaxPool2d) else []
    convolution = layers.pop()
    assert isinstance(convolution, nn.Conv2d)
    if isinstance(convolution, QuantizedConv2d):
        convolution = convolution.plain()
    if pool and (norm.weight < 0).any():
        return [convolution, *pool, norm, nn.ReLU()]
    return [fuse_conv_bn_eval(convolution, norm), nn.ReLU(), *pool]


def fold_space_to_depth(network: Network) -> None:
    """Replace space-to-depth and a 3x3 convolution by the equal 6x6 convolution of stride 2, which copies no pixels.

    A looped network has no space-to-depth.
    """
    for member in members(network):
        if member.config.looped:
            continue
        stage = member.stages[0]
        assert isinstance(stage, nn.Sequential)
        convolution = stage[0]
        assert isinstance(convolution, nn.Conv2d)
        strided = nn.Conv2d(1, convolution.out_channels, kernel_size=6, stride=2, padding=2)
        strided.weight, strided.bias = nn.Parameter(F.pixel_shuffle(convolution.weight, 2)), convolution.bias
        member.space_to_depth, stage[0] = nn.Identity(), strided


def members(network: Network) -> list[CNN]:
    """Return the members of an ensemble, or the network itself."""
    return [part for part in network.modules() if isinstance(part, CNN)]
