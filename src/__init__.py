"""Handwritten digits from pictures: the public face. Semantic versioning holds for these names and for nothing else.

They are imported on first use (PEP 562), so `import mnist_cnn` alone imports neither NumPy nor PyTorch; `CNN`,
`ModelConfig` and `load_dataset` need PyTorch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_cnn.classifier import Classifier
    from mnist_cnn.cnn_model import CNN, ModelConfig
    from mnist_cnn.data_loader import load_dataset
    from mnist_cnn.pictures.pdf import PdfPage
    from mnist_cnn.reading import Prediction, Reading

    __version__: str

__all__ = ["CNN", "Classifier", "ModelConfig", "PdfPage", "Prediction", "Reading", "__version__", "load_dataset"]

MODULES = {
    "CNN": "cnn_model",
    "Classifier": "classifier",
    "ModelConfig": "cnn_model",
    "PdfPage": "pictures.pdf",
    "Prediction": "reading",
    "Reading": "reading",
    "load_dataset": "data_loader",
}


def __getattr__(name: str) -> object:
    """Import a name of the public face on first use, and keep it.

    Raises:
        AttributeError: the package has no such name.
        ImportError: an extra is missing; the message says how to install it.
    """
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("mnist-cnn")
    elif name in MODULES:
        try:
            value = getattr(importlib.import_module(f"mnist_cnn.{MODULES[name]}"), name)
        except ModuleNotFoundError as error:
            raise ImportError(f"{name} needs {error.name}: pip install -e '.[train]' in the checkout") from error
    else:
        raise AttributeError(f"module 'mnist_cnn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public face, imported or not."""
    return sorted({*globals(), *__all__})
