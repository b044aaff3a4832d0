"""Evaluation: inference on a split, scoring, report and figures. As a script: evaluate a saved model."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_cnn.common.signals import prepare_process

if __name__ == "__main__":
    prepare_process()

import torch
from torch import Tensor, nn

from mnist_cnn import plots
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.device import pick_device
from mnist_cnn.common.distributed import all_gather_rows, rank, world_size
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.common.names import printable
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.metrics import Floats, Report, as_text, score, softmax, wilson_interval
from mnist_cnn.models.checkpoint import DEFAULT, Checkpoint, load_checkpoint, or_shipped
from mnist_cnn.models.ood import PASS_RATE, OODDetector, WithOODScore
from mnist_cnn.own_network import Network
from mnist_cnn.predictions import Predictions, check_predictions_file, write_predictions
from mnist_cnn.splits import Dataset, Split, all_as_test, batches, with_classes
from mnist_cnn.training.config import run_name

MODELS = Path("saved_models")
IMAGES = Path("images")
MIN_TRUSTED = 0.75
"""Share of trusted predictions below which a dataset counts as out of distribution. For the shipped model it is 99.5 %
on MNIST of any polarity, 98 % on the bundled digits and at least 78 % on MNIST under corruptions that leave 95 %
accuracy (benchmarks/robustness.py); 42 % on MNIST transposed, 66 % mirrored, 67 % upside down, 2 % on Fashion-MNIST."""


@torch.inference_mode()
def infer(model: nn.Module, split: Split, batch_size: int = 1000) -> Tensor:
    """Compute the logits of every image in float32, in order, on the model's device.

    The model's train or eval mode is restored afterwards.

    Returns:
        float32 [N, classes] on the CPU.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    logits = [model(batch.images.to(device)).float().cpu() for batch in batches(split, batch_size)]
    model.train(was_training)
    return torch.cat(logits)


def infer_distributed(model: nn.Module, split: Split) -> Tensor:
    """Compute logits as `infer` does, sharded over the ranks; every rank returns all of them, in order."""
    shard = Split(split.images[rank() :: world_size()], split.labels[rank() :: world_size()])
    return all_gather_rows(infer(model, shard), len(split))


def predict(
    model: Network, split: Split, temperature: float = 1.0, ood_detector: OODDetector | None = None
) -> Predictions:
    """Answer for every image of a split, the logits divided by `temperature` before the softmax.

    Raises:
        InputError: a logit is not finite.
    """
    outputs = infer_distributed(WithOODScore(model, ood_detector) if ood_detector else model, split)
    if not outputs.isfinite().all():
        raise InputError("the model's logits are not finite; train it again, or name another with --checkpoint")
    logits = (outputs[:, :-1] if ood_detector else outputs).double().numpy()
    probabilities = softmax(logits, temperature)
    if ood_detector is None:
        return Predictions(logits, probabilities, None)
    confident = ood_detector.trusts(torch.from_numpy(probabilities.max(axis=1)), outputs[:, -1])
    return Predictions(logits, probabilities, confident.numpy())


def report_of(predictions: Predictions, split: Split, classes: tuple[str, ...]) -> Report:
    """Score predictions for every image of a split."""
    report = score(predictions.probabilities, split.labels.cpu().numpy(), classes)
    assert report.count == len(split)
    confident = predictions.confident
    return report if confident is None else dataclasses.replace(report, trusted=float(confident.mean()))


def evaluate(
    model: Network,
    split: Split,
    classes: tuple[str, ...],
    temperature: float = 1.0,
    ood_detector: OODDetector | None = None,
) -> tuple[Report, Floats]:
    """Score a model, its logits divided by `temperature`, on every image of a split.

    With an `ood_detector`, the report includes the share of trusted predictions.

    Returns:
        The report, and the probabilities, float64 [N, classes].

    Raises:
        InputError: a logit is not finite.
    """
    predictions = predict(model, split, temperature, ood_detector)
    return report_of(predictions, split, classes), predictions.probabilities


def warn_out_of_distribution(report: Report, dataset: str) -> None:
    """Warn on stderr if significantly fewer predictions than `MIN_TRUSTED` are trusted."""
    if report.trusted is None:
        return
    if wilson_interval(round(report.trusted * report.count), report.count)[1] < MIN_TRUSTED:
        print(
            f"\nWARNING: {dataset} is unlike what this model was trained on: transposed (as EMNIST's files are), "
            f"mirrored, corrupted? {report.trusted:.1%} of predictions are trusted, usually {PASS_RATE:.1%}",
            file=sys.stderr,
        )


def evaluate_and_show(
    checkpoint: Checkpoint, file: Path, dataset: Dataset, device: str, output_dir: Path, answers: Path | None = None
) -> Path:
    """Evaluate a checkpoint on a dataset's test split; write the report as JSON, draw the figures, print the report.

    All ranks compute; rank 0 prints, writes and draws.

    Args:
        checkpoint: the model.
        file: its path; the report is named after it.
        dataset: any dataset; its classes are matched by name.
        device: as in `pick_device`.
        output_dir: folder for saved_models/ and images/. If it holds the report of the default training, figures of
            another dataset or preset go to images/NAME/.
        answers: file for the prediction of every image, as in `write_predictions`.

    Returns:
        The folder of the figures.

    Raises:
        InputError: the dataset has classes that the model does not know.
    """
    dataset = with_classes(dataset, checkpoint.classes, file)
    model = checkpoint.build_model().to(pick_device(device))
    predictions = predict(model, dataset.test, checkpoint.temperature, checkpoint.ood_detector)
    report = report_of(predictions, dataset.test, dataset.classes)
    elsewhere = "" if dataset.name == checkpoint.dataset else f"_on_{dataset.name}"
    json_path = output_dir / MODELS / f"{file.stem}{elsewhere}.json"
    recipe = checkpoint.train_config
    name = run_name(checkpoint.dataset, recipe.get("preset", "default"), recipe.get("network"))
    result = name.removesuffix("_cnn") + elsewhere
    has_mnist = (output_dir / DEFAULT.with_suffix(".json")).exists()
    figures = output_dir / IMAGES / (result if has_mnist and result != "mnist" else "")
    if rank() == 0:
        write_report(report, checkpoint, model.parameter_count(), file, dataset.name, json_path)
        probabilities = predictions.probabilities
        plots.draw_all(figures, file.name, checkpoint.dataset, dataset, report, probabilities, checkpoint.history)
        if answers:
            write_predictions(predictions, dataset.test, dataset.classes, answers)
        print(as_text(report, f"{dataset.name} test split, {file.name}"))
        print(f"\nreport: {printable(str(json_path))}\nfigures: {printable(str(figures))}")
        warn_out_of_distribution(report, dataset.name)
    return figures


def write_report(report: Report, checkpoint: Checkpoint, parameters: int, file: Path, dataset: str, path: Path) -> None:
    """Write a report, with its model and training, as JSON."""
    context = {
        "model": file.name,
        "trained_on": checkpoint.dataset,
        "evaluated_on": f"{dataset} test split",
        "parameters": parameters,
        "temperature": checkpoint.temperature,
        "train_config": checkpoint.train_config,
        "history": checkpoint.history,
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(context | dataclasses.asdict(report), indent=1) + "\n", encoding="utf-8")


def check_output(output_dir: Path) -> None:
    """Check that a folder is writable, else raise InputError; remove partial files of killed processes."""
    for folder in (output_dir, output_dir / MODELS, output_dir / IMAGES):
        if folder == output_dir or folder.is_dir():
            check_writable(folder)


def command(
    checkpoint: Path = DEFAULT,
    network: str | None = None,
    dataset: str = "auto",
    data_dir: Path | None = None,
    device: str = "auto",
    output_dir: Path = Path(),
    predictions: Path | None = None,
) -> None:
    """Evaluate a saved model on the test split: print and save its report, redraw the figures.

    All images of a folder that the model was not trained on are test images.

    Args:
        checkpoint: The model; if the default is missing, the one shipped with the checkout.
        network: The code of a model that was trained with --network, FILE.py:CLASS, which is run.
        dataset: As for train: a name, a .csv or .npz, or a folder of IDX files or pictures; auto: what it was trained
            on.
        data_dir: Folder with the data, searched before $MNIST_CNN_DATA and ./data.
        device: cpu, cuda, mps, xpu; auto prefers an accelerator.
        output_dir: Folder for saved_models/NAME.json and images/.
        predictions: File for the answer to every image, .csv, .npz (with logits) or .parquet: index, file, true and
            predicted class, confident, probability of each class.
    """
    file = or_shipped(checkpoint)
    model = load_checkpoint(file, network)
    pick_device(device)
    check_output(output_dir)
    if predictions:
        check_predictions_file(predictions)
    trained_on = "auto" if model.dataset == "mnist" else model.dataset
    data = load_dataset(trained_on if dataset == "auto" else dataset, data_dir)
    if Path(dataset).exists() and data.name != model.dataset:
        data = all_as_test(data)
    evaluate_and_show(model, file, data, device, output_dir, predictions)


def main(argv: Sequence[str] | None = None, prog: str = "evaluate.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
