"""Networks from outside this program: any module that maps [N, 1, 28, 28] to [N, classes], with what the rest needs."""

import importlib
import importlib.util
import inspect
import math
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from mnist_cnn.cnn_model import CNN, Ensemble, Normalize
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.names import printable

MAX_FEATURES = 4096  # of the last layer: the OOD detector inverts a matrix of so many rows
EXAMPLE = "name it as in --network my_file.py:MyNet"


@dataclass(frozen=True, kw_only=True)
class OwnConfig:
    """What a checkpoint records of a network from outside, beside its weights."""

    network: str
    """FILE.py:CLASS or MODULE:CLASS, for people to find the code; nothing is run because a checkpoint names it."""
    classes: int
    """Number of logits."""
    mean: float
    """Mean of the training pixels, as a share of 255."""
    std: float
    """Standard deviation of the training pixels, as a share of 255."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not isinstance(self.network, str) or not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise InputError(
                f"network is {self.network!r}, mean {self.mean}, std {self.std}; they must be a name, finite"
            )


class OwnNetwork(nn.Module):
    """A network from outside behind the normalization that every network here begins with.

    It gets float32 images [N, 1, 28, 28], light strokes on dark, of mean 0 and standard deviation 1.
    """

    def __init__(self, config: OwnConfig, network: nn.Module) -> None:
        """Wrap a network, which keeps its weights."""
        super().__init__()
        self.config = config
        self.normalize = Normalize(config.mean, config.std)
        self.network = network

    def parameter_count(self) -> int:
        """Return the number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [N, classes] of raw pixels 0..255, as a `CNN` does."""
        logits: Tensor = self.network(self.normalize(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return what the last linear layer gets, float [N, D]; the logits where there is no such layer."""
        return self.logits_and_features(images)[1]

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and `features`; the features are the logits too where they are more than `MAX_FEATURES`."""
        linear = [layer for layer in self.network.modules() if isinstance(layer, nn.Linear)]
        inputs: list[Tensor] = []
        hooks = [layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for layer in linear[-1:]]
        try:
            logits = self(images)
        finally:
            for hook in hooks:
                hook.remove()
        features = inputs[-1].flatten(1) if inputs else logits
        usable = features.shape[0] == logits.shape[0] and features.shape[1] <= MAX_FEATURES
        return logits, features if usable else logits


Network = CNN | Ensemble | OwnNetwork


def spec_of(network: nn.Module) -> str:
    """Return a module's import path, MODULE:CLASS."""
    return f"{type(network).__module__}:{type(network).__name__}"


def class_of(spec: str) -> str:
    """Return the class in FILE.py:CLASS or MODULE:CLASS."""
    return spec.rpartition(":")[2]


def load_network(spec: str, classes: int) -> nn.Module:
    """Run the file or import the module of a spec, and make its network: `CLASS()`, or `CLASS(classes=N)` if it can.

    Args:
        spec: FILE.py:CLASS or MODULE:CLASS; CLASS may be a function.
        classes: number of logits.

    Raises:
        InputError: there is no such code, it fails, or it makes no network of so many logits.
    """
    place, _, name = spec.rpartition(":")
    try:
        module = run_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        make = getattr(module, name)
        network = make(classes=classes) if "classes" in inspect.signature(make).parameters else make()
    except Exception as error:
        raise InputError(f"{spec} cannot be made: {described(error)}; {EXAMPLE}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{spec} is {printable(type(network).__name__)}, no torch.nn.Module; {EXAMPLE}")
    return network


def run_file(path: Path) -> ModuleType:
    """Run a file as a module; it may import what stands beside it, and its classes can be pickled."""
    name = f"own_network_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def described(error: Exception) -> str:
    """Describe an exception in code from outside in one line, with the place where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return printable(f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})", 300)


def check_network(network: OwnNetwork) -> None:
    """Check on two blank images that a network gives logits, and that it has weights to train.

    Raises:
        InputError: it does not.
    """
    config, was_training = network.config, network.training
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError(f"{config.network} has no parameter to train; {EXAMPLE}")
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            logits = network.eval()(torch.zeros(2, 1, 28, 28, device=device))
    except Exception as error:
        raise InputError(f"{config.network} fails on images [2, 1, 28, 28]: {described(error)}") from error
    finally:
        network.train(was_training)
    if not isinstance(logits, Tensor) or logits.shape != (2, config.classes) or not logits.is_floating_point():
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"{config.network} gives {shape} for images [2, 1, 28, 28], expected float logits [2, {config.classes}]; "
            "give it one output per class, or a parameter `classes`"
        )
