"""Entry points of `torch.hub`: `torch.hub.load(REPOSITORY, "mnist_cnn")`."""

import importlib.util
import sys
from pathlib import Path

from torch import nn

dependencies = ["numpy", "torch", "tqdm"]
ROOT = Path(__file__).resolve().parent


def mnist_cnn(pretrained: bool = True) -> nn.Module:
    """Return the default network, in eval mode on the CPU: raw pixels 0..255 [N, 1, 28, 28] to logits [N, 10].

    Args:
        pretrained: with the weights that ship, else with random ones from torch's global generator.
    """
    import_package()
    from mnist_cnn.cnn_model import CNN, ModelConfig
    from mnist_cnn.models.checkpoint import SHIPPED, load_checkpoint

    return load_checkpoint(SHIPPED).build_model() if pretrained else CNN(ModelConfig()).eval()


def import_package() -> None:
    """Import this checkout's src/ as `mnist_cnn`, unless the package is installed."""
    if importlib.util.find_spec("mnist_cnn"):
        return
    source = ROOT / "src"
    spec = importlib.util.spec_from_file_location(
        "mnist_cnn", source / "__init__.py", submodule_search_locations=[str(source)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{source} is not the package")
    package = importlib.util.module_from_spec(spec)
    sys.modules["mnist_cnn"] = package
    spec.loader.exec_module(package)
