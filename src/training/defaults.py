"""The settings that the flags of a command override: a preset's, and those of a file."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_cnn.common.console import parse
from mnist_cnn.common.errors import InputError
from mnist_cnn.training.config import PRESETS, TrainConfig, flatten

ASK = 'name the report of a run, or a file such as {"preset": "fast", "epochs": 3}'


def read_defaults(argv: Sequence[str] | None, prog: str) -> tuple[TrainConfig, bool]:
    """Read the settings that flags override: those of --config over those of the preset, `fine-tune` with --init-from.

    Returns:
        The settings, and whether the epochs are the preset's, which may be raised for a small dataset.

    Raises:
        InputError: the file of --config is missing, invalid, or of another preset than --preset.
    """
    names = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--preset", "--init-from", "--epochs", "--config"):
        names.add_argument(name, nargs="?")  # `parse` rejects a flag without a value
    known = names.parse_known_args(argv)[0]
    settings = read_settings(Path(known.config)) if known.config else {}
    preset = known.preset or settings.get("preset") or ("fine-tune" if known.init_from else "default")
    if settings.get("preset", preset) != preset:
        raise InputError(f"{known.config} is of preset {settings['preset']!r}, --preset is {preset}; leave out one")
    defaults = PRESETS.get(str(preset), PRESETS["default"]).train
    try:
        defaults = parse(defaults, as_flags(settings), prog)
    except InputError as error:
        raise InputError(f"{known.config}: {error}") from None
    return defaults, known.epochs is None and "epochs" not in settings


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings in a JSON file; those of a report are its training's, with the dataset that it was trained on.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {ASK}") from None
    except ValueError as error:
        raise InputError(f"{path} cannot be read as JSON: {error}; {ASK}") from None
    settings = content
    if isinstance(content, dict) and "train_config" in content:
        settings = content["train_config"]
        if isinstance(settings, dict) and "trained_on" in content:
            settings = {"dataset": content["trained_on"], **settings}
    if not isinstance(settings, dict):
        raise InputError(f"{path} holds no settings; {ASK}")
    return settings


def as_flags(settings: dict[str, Any]) -> list[str]:
    """Write settings as flags, so that they are checked as flags are; dots join nested names, None is left out."""
    flags = []
    for name, value in flatten(settings).items():
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        elif value is not None:
            flags.append(f"--{name}={value}")
    return flags
