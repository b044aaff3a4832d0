"""Networks as folders of `model.safetensors` and `config.json`, on disk or on the Hugging Face Hub.

A folder holds tensors and plain values, never code.
"""

import importlib
import json
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write

CONFIG, WEIGHTS = "config.json", "model.safetensors"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
MAX_CONFIG_BYTES = 2**20


def extra(module: str) -> ModuleType:
    """Import a library of the extra `hub`.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"this needs {error.name}: run pip install -e '.[hub]' in the checkout") from None


def write_folder(folder: Path, config: dict[str, Any], state_dict: dict[str, Tensor]) -> None:
    """Write a network's weights and what describes them, plain values, into a folder; each file atomically.

    Raises:
        InputError: safetensors is not installed.
    """
    apart = {name: tensor.detach().clone().contiguous() for name, tensor in state_dict.items()}  # not tied in memory
    content: bytes = extra("safetensors.torch").save(apart, metadata={"format": "pt"})
    with atomic_write(folder / WEIGHTS) as temporary:
        temporary.write_bytes(content)
    with atomic_write(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_folder(source: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write_folder` wrote.

    Args:
        source: the folder, or a name on the Hugging Face Hub, OWNER/NAME, from where it is downloaded into the Hub's
            cache. A folder goes first.

    Returns:
        The description, as a JSON object, and the weights.

    Raises:
        InputError: there is no such folder or name, a library is missing, or a file is missing or damaged.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = downloaded(str(source))
    try:
        with (folder / CONFIG).open("rb") as file:
            config = json.loads(file.read(MAX_CONFIG_BYTES))
    except (OSError, ValueError):
        raise InputError(
            f"{folder} has no readable {CONFIG}; write one with `mnist-cnn export --safetensors`"
        ) from None
    if not isinstance(config, dict):
        raise InputError(f"{folder / CONFIG} is not a JSON object")
    library = extra("safetensors")
    try:
        tensors: dict[str, Tensor] = extra("safetensors.torch").load_file(folder / WEIGHTS)
    except (OSError, library.SafetensorError):
        raise InputError(f"{folder} has no readable {WEIGHTS}; download or export it again") from None
    return config, tensors


def downloaded(name: str) -> Path:
    """Download a network from the Hugging Face Hub, unless the Hub's cache has it; return its folder.

    Raises:
        InputError: it is no name of the Hub, huggingface_hub is not installed, or the Hub does not give it.
    """
    if not HUB_NAME.fullmatch(name):
        raise InputError(f"{name} is no folder, and no name on the Hugging Face Hub, OWNER/NAME")
    hub = extra("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # of the Hub's library, of its HTTP client, of the operating system
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name} is no folder here, and the Hugging Face Hub does not give it: {first}") from error
