"""Combines trained networks into one model, an ensemble: their logits are result."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from torch import Tensor
from tyro.conf import Positional, arg

from mnist_cnn.cnn_model import ModelConfig
from mnist_cnn.common.console import exit_codes, parse_call, pluralize
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import check_writable
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.splits import Dataset, split_off, with_classes
from mnist_cnn.train import add_ood_detector, calibrate


def build_ensemble(members: Sequence[Checkpoint], dataset: Dataset) -> Checkpoint:
    """Combine networks of one architecture: average their logits, each divided by its member's temperature.

    Temperature and OOD thresholds of the ensemble are fitted on the validation split, which the members share.
    """
    first = members[0]
    assert isinstance(first.model_config, ModelConfig)
    ensemble = dataclasses.replace(
        first,
        model_config=dataclasses.replace(first.model_config, members=len(members)),
        state_dict={
            f"members.{number}.{name}": tensor
            for number, member in enumerate(members)
            for name, tensor in scaled(member).items()
        },
        train_config=first.train_config | {"seed": [member.train_config["seed"] for member in members]},
        history=[],
        temperature=1.0,
        training_state=None,
    )
    val = split_off(dataset.train, first.train_config["val_size"])[1]
    return add_ood_detector(dataclasses.replace(ensemble, temperature=calibrate(ensemble.build_model(), val)), dataset)


def scaled(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights, those of the last layer divided by the temperature."""
    return {
        name: tensor / checkpoint.temperature if name.startswith("classifier.") else tensor
        for name, tensor in checkpoint.state_dict.items()
    }


def check_alike(members: Sequence[Checkpoint], paths: Sequence[Path]) -> None:
    """Check that models can be members of one ensemble.

    Raises:
        InputError: there is only one, or they differ in architecture, dataset or validation split.
    """
    if len(members) < 2:
        raise InputError(f"an ensemble of {pluralize(len(members), 'model')}; name two or more")
    for member, path in zip(members, paths, strict=True):
        if not isinstance(member.model_config, ModelConfig):
            raise InputError(f"{path} is a network of its own file; an ensemble needs networks of this program")
        if member.model_config.members > 1:
            raise InputError(f"{path} is an ensemble already; name its members")
        if not {"seed", "val_size"} <= member.train_config.keys():
            raise InputError(f"{path} does not record its seed and val_size; train it again")
        for what, own, first in (
            ("dataset", member.dataset, members[0].dataset),
            ("classes", member.classes, members[0].classes),
            ("network", member.model_config, members[0].model_config),
            ("validation split", member.train_config["val_size"], members[0].train_config["val_size"]),
        ):
            if own != first:
                raise InputError(f"{path} has another {what} than {paths[0]}; an ensemble needs models of one preset")


def command(
    models: Annotated[Positional[tuple[Path, ...]], arg(metavar="MODEL...", help_behavior_hint="")],
    output: Path,
    data_dir: Path | None = None,
) -> None:
    """Combine models trained with different seeds into one, which averages their logits and which predict can load.

    Args:
        models: Two or more models of one preset, as `mnist-cnn study --preset best --keep FOLDER` saves them.
        output: File of the ensemble.
        data_dir: Folder with the data, searched before $MNIST_CNN_DATA and ./data.
    """
    members = [load_checkpoint(path) for path in models]
    check_alike(members, models)
    check_writable(output.parent, "--output")
    dataset = with_classes(load_dataset(members[0].dataset, data_dir), members[0].classes, models[0])
    save_checkpoint(build_ensemble(members, dataset), output)
    print(f"ensemble of {len(members)} models: {output}")


def main(argv: Sequence[str] | None = None, prog: str = "ensemble.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
