"""A model and a split become logits, and logits a report. As a script: evaluate a saved model."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_cnn.interruption import begin

if __name__ == "__main__":
    begin()

import torch
from torch import Tensor, nn

from mnist_cnn import plots
from mnist_cnn.checkpoint import SHIPPED, Checkpoint, load_checkpoint
from mnist_cnn.console import exit_codes, parse_call, printable
from mnist_cnn.data_loader import Dataset, Split, all_as_test, batches, load
from mnist_cnn.device import pick_device
from mnist_cnn.distributed import gathered, rank, size
from mnist_cnn.errors import InputError
from mnist_cnn.files import check_writable, whole_file
from mnist_cnn.metrics import Floats, Report, as_text, score, softmax

MODELS = Path("saved_models")
IMAGES = Path("images")


@torch.inference_mode()
def infer(model: nn.Module, split: Split, batch_size: int = 1000) -> Tensor:
    """Compute the logits of every image in float32, in order, on the model's device.

    The model is in eval mode meanwhile and in its former mode afterwards.

    Returns:
        float32 [N, classes] on the CPU.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    logits = [model(batch.images.to(device)).float().cpu() for batch in batches(split, batch_size)]
    model.train(was_training)
    return torch.cat(logits)


def infer_together(model: nn.Module, split: Split) -> Tensor:
    """Compute the logits of every image as `infer` does, each process those of every n-th; all get all, in order."""
    part = Split(split.images[rank() :: size()], split.labels[rank() :: size()])
    return gathered(infer(model, part), len(split))


def evaluate(
    model: nn.Module, split: Split, classes: tuple[str, ...], temperature: float = 1.0
) -> tuple[Report, Floats]:
    """Score a model, its logits divided by `temperature`, on every image of a split.

    Returns:
        The report, and the probabilities, float64 [N, classes].
    """
    probabilities = softmax(infer_together(model, split).double().numpy(), temperature)
    report = score(probabilities, split.labels.cpu().numpy(), classes)
    assert report.count == len(split)
    return report, probabilities


def evaluate_and_show(checkpoint: Checkpoint, file: Path, dataset: Dataset, device: str, output_dir: Path) -> Path:
    """Score a checkpoint on a dataset's test split; write the report as JSON, draw the figures, print the report.

    Of several processes each computes a share, and rank 0 prints, writes and draws.

    Args:
        checkpoint: the model.
        file: where it is; the report's file is named after it.
        dataset: any dataset with as many classes.
        device: as in `pick_device`.
        output_dir: gets saved_models/ and images/. Where MNIST's report is, its figures stay: those of another
            dataset then go to images/NAME/.

    Returns:
        The folder of the figures.

    Raises:
        InputError: the dataset has another number of classes.
    """
    if len(dataset.classes) != len(checkpoint.classes):
        raise InputError(
            f"{file} tells {len(checkpoint.classes)} classes apart, {dataset.name} has {len(dataset.classes)}; "
            "name a matching dataset with --dataset"
        )
    model = checkpoint.build_model().to(pick_device(device))
    report, probabilities = evaluate(model, dataset.test, dataset.classes, checkpoint.temperature)
    elsewhere = "" if dataset.name == checkpoint.dataset else f"_on_{dataset.name}"
    json_path = output_dir / MODELS / f"{file.stem}{elsewhere}.json"
    result = f"{checkpoint.dataset}{elsewhere}"
    mnist_is_here = (output_dir / MODELS / "mnist_cnn_final.json").exists()
    figures = output_dir / IMAGES / (result if mnist_is_here and result != "mnist" else "")
    if rank() == 0:
        write_report(report, checkpoint, model.parameter_count(), file, dataset.name, json_path)
        plots.draw_all(figures, file.name, checkpoint.dataset, dataset, report, probabilities, checkpoint.history)
        print(as_text(report, f"{dataset.name} test split, {file.name}"))
        print(f"\nreport: {printable(str(json_path))}\nfigures: {printable(str(figures))}")
    return figures


def write_report(report: Report, checkpoint: Checkpoint, parameters: int, file: Path, dataset: str, path: Path) -> None:
    """Write a report and what it is a report of as JSON."""
    about = {
        "model": file.name,
        "trained_on": checkpoint.dataset,
        "evaluated_on": f"{dataset} test split",
        "parameters": parameters,
        "temperature": checkpoint.temperature,
        "train_config": checkpoint.train_config,
        "history": checkpoint.history,
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(about | dataclasses.asdict(report), indent=1) + "\n", encoding="utf-8")


def check_output(output_dir: Path) -> None:
    """Check that an evaluation can write below a folder, and remove what a killed one left there.

    Raises:
        InputError: it cannot.
    """
    for folder in (output_dir, output_dir / MODELS, output_dir / IMAGES):
        if folder == output_dir or folder.is_dir():
            check_writable(folder)


def command(
    checkpoint: Path = MODELS / "mnist_cnn_final.pth",
    dataset: str = "auto",
    data_dir: Path | None = None,
    device: str = "auto",
    output_dir: Path = Path(),
) -> None:
    """Evaluate a saved model on the test split: print and save its report, redraw the figures.

    A folder that the model was not trained on counts as test images as a whole.

    Args:
        checkpoint: The model; where the default is missing, the one that ships with the checkout.
        dataset: mnist, fashion-mnist, digits, or a folder of IDX files or pictures; auto: the one it learned from.
        data_dir: Folder with the data, looked in before $MNIST_CNN_DATA and ./data.
        device: cpu, cuda, mps, xpu; auto takes an accelerator where there is one.
        output_dir: Gets saved_models/NAME.json and images/.
    """
    file = SHIPPED if checkpoint == MODELS / SHIPPED.name and not checkpoint.is_file() else checkpoint
    model = load_checkpoint(file)
    pick_device(device)
    check_output(output_dir)
    trained_on = "auto" if model.dataset == "mnist" else model.dataset
    data = load(trained_on if dataset == "auto" else dataset, data_dir)
    if Path(dataset).is_dir() and data.name != model.dataset:
        data = all_as_test(data)
    evaluate_and_show(model, file, data, device, output_dir)


def main(argv: Sequence[str] | None = None, prog: str = "evaluate.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
