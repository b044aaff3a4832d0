"""Several trained networks become one model: their logits are averaged."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from torch import Tensor
from tyro.conf import Positional, arg

from mnist_cnn.common.console import exit_codes, parse_call, pluralize
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import check_writable
from mnist_cnn.data_loader import Dataset, load_dataset, split_off, with_classes
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.train import calibrate, learn_limits


def average(members: Sequence[Checkpoint], dataset: Dataset) -> Checkpoint:
    """Average the logits of networks of one shape, each divided by its own temperature.

    The temperature of the average and its limits of trust come from the validation split, which is the same for all.
    """
    first = members[0]
    joined = dataclasses.replace(
        first,
        model_config=dataclasses.replace(first.model_config, members=len(members)),
        state_dict={
            f"members.{number}.{name}": tensor
            for number, member in enumerate(members)
            for name, tensor in tempered(member).items()
        },
        train_config=first.train_config | {"seed": [member.train_config["seed"] for member in members]},
        history=[],
        temperature=1.0,
        training_state=None,
    )
    val = split_off(dataset.train, first.train_config["val_size"])[1]
    return learn_limits(dataclasses.replace(joined, temperature=calibrate(joined.build_model(), val)), dataset)


def tempered(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights with the temperature divided out of the last layer."""
    return {
        name: tensor / checkpoint.temperature if name.startswith("classifier.") else tensor
        for name, tensor in checkpoint.state_dict.items()
    }


def check_alike(members: Sequence[Checkpoint], paths: Sequence[Path]) -> None:
    """Check that networks can be averaged.

    Raises:
        InputError: there is only one, or they differ in shape, in data or in their validation images.
    """
    if len(members) < 2:
        raise InputError(f"{pluralize(len(members), 'model')} cannot be averaged; name two or more")
    for member, path in zip(members, paths, strict=True):
        if member.model_config.members > 1:
            raise InputError(f"{path} is an average already; name its members")
        if not {"seed", "val_size"} <= member.train_config.keys():
            raise InputError(f"{path} does not say its seed and val-size; train it again")
        for what, own, first in (
            ("dataset", member.dataset, members[0].dataset),
            ("classes", member.classes, members[0].classes),
            ("network", member.model_config, members[0].model_config),
            ("validation split", member.train_config["val_size"], members[0].train_config["val_size"]),
        ):
            if own != first:
                raise InputError(f"{path} has another {what} than {paths[0]}; average models of one preset")


def command(
    models: Annotated[Positional[tuple[Path, ...]], arg(metavar="MODEL...", help_behavior_hint="")],
    output: Path,
    data_dir: Path | None = None,
) -> None:
    """Average the logits of two or more models trained with different seeds; save them as one that predict can load.

    Args:
        models: Models of one preset: `mnist-cnn study --preset best --keep FOLDER` makes them.
        output: The averaged model's file.
        data_dir: Folder with the data, looked in before $MNIST_CNN_DATA and ./data.
    """
    members = [load_checkpoint(path) for path in models]
    check_alike(members, models)
    check_writable(output.parent, "--output")
    dataset = with_classes(load_dataset(members[0].dataset, data_dir), members[0].classes, models[0])
    save_checkpoint(average(members, dataset), output)
    print(f"{len(members)} models averaged: {output}")


def main(argv: Sequence[str] | None = None, prog: str = "ensemble.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
