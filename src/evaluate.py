"""A model and a split become logits, and logits a report. As a script: evaluate a saved model."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_cnn.common.signals import begin

if __name__ == "__main__":
    begin()

import torch
from torch import Tensor, nn

from mnist_cnn import plots
from mnist_cnn.cnn_model import Network
from mnist_cnn.common.console import exit_codes, parse_call, printable
from mnist_cnn.common.device import pick_device
from mnist_cnn.common.distributed import gathered, rank, size
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.data_loader import Dataset, Split, all_as_test, batches, load_dataset, with_classes
from mnist_cnn.metrics import Floats, Report, as_text, score, softmax, wilson_interval
from mnist_cnn.models.checkpoint import DEFAULT, Checkpoint, load_checkpoint, or_shipped
from mnist_cnn.models.ood import PASS_RATE, OODDetector, WithOODScore
from mnist_cnn.training.config import run_name

MODELS = Path("saved_models")
IMAGES = Path("images")
FEWEST_TRUSTED = 0.75
"""Share of answers below which images are unlike a model's own. With the shipped one it is 99.5 % on MNIST of any
polarity, 98 % on the bundled digits and 78 % or more on MNIST corrupted in the ways that leave 95 % to be read right
(benchmarks/robustness.py); 42 % on MNIST transposed, 66 % mirrored, 67 % upside down, 2 % on Fashion-MNIST."""


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


def infer_distributed(model: nn.Module, split: Split) -> Tensor:
    """Compute the logits of every image as `infer` does, each process those of every n-th; all get all, in order."""
    part = Split(split.images[rank() :: size()], split.labels[rank() :: size()])
    return gathered(infer(model, part), len(split))


def evaluate(
    model: Network,
    split: Split,
    classes: tuple[str, ...],
    temperature: float = 1.0,
    ood_detector: OODDetector | None = None,
) -> tuple[Report, Floats]:
    """Score a model, its logits divided by `temperature`, on every image of a split.

    With its `ood_detector`, the report has the share of answers to be trusted.

    Returns:
        The report, and the probabilities, float64 [N, classes].

    Raises:
        InputError: the model gives logits that are not finite.
    """
    seen = infer_distributed(WithOODScore(model, ood_detector) if ood_detector else model, split)
    if not seen.isfinite().all():
        raise InputError("the model's answers are not finite; train it again, or name another with --checkpoint")
    probabilities = softmax(seen[:, : len(classes)].double().numpy(), temperature)
    report = score(probabilities, split.labels.cpu().numpy(), classes)
    assert report.count == len(split)
    if ood_detector:
        trusted = ood_detector.trusted_share(torch.from_numpy(probabilities.max(axis=1)), seen[:, -1])
        report = dataclasses.replace(report, trusted=trusted)
    return report, probabilities


def warn_out_of_distribution(report: Report, dataset: str) -> None:
    """Say on stderr where few answers are to be trusted, by more than chance in the images explains."""
    if report.trusted is None or report.trusted >= FEWEST_TRUSTED:
        return
    if wilson_interval(round(report.trusted * report.count), report.count)[1] < FEWEST_TRUSTED:
        print(
            f"\nWARNING: {dataset} is unlike what this model was trained on: transposed (as EMNIST's files are), "
            f"mirrored, damaged? Of the answers {report.trusted:.1%} are to be trusted, on its own data {PASS_RATE:.1%}",
            file=sys.stderr,
        )


def evaluate_and_show(checkpoint: Checkpoint, file: Path, dataset: Dataset, device: str, output_dir: Path) -> Path:
    """Score a checkpoint on a dataset's test split; write the report as JSON, draw the figures, print the report.

    Of several processes each computes a share, and rank 0 prints, writes and draws.

    Args:
        checkpoint: the model.
        file: where it is; the report's file is named after it.
        dataset: any dataset; its classes are told by name.
        device: as in `pick_device`.
        output_dir: gets saved_models/ and images/. Where the report of the default training is, its figures stay: those
            of another dataset or preset then go to images/NAME/.

    Returns:
        The folder of the figures.

    Raises:
        InputError: the dataset has classes that the model does not know.
    """
    dataset = with_classes(dataset, checkpoint.classes, file)
    model = checkpoint.build_model().to(pick_device(device))
    report, probabilities = evaluate(
        model, dataset.test, dataset.classes, checkpoint.temperature, checkpoint.ood_detector
    )
    elsewhere = "" if dataset.name == checkpoint.dataset else f"_on_{dataset.name}"
    json_path = output_dir / MODELS / f"{file.stem}{elsewhere}.json"
    name = run_name(checkpoint.dataset, checkpoint.train_config.get("preset", "default"))
    result = name.removesuffix("_cnn") + elsewhere
    mnist_is_here = (output_dir / DEFAULT.with_suffix(".json")).exists()
    figures = output_dir / IMAGES / (result if mnist_is_here and result != "mnist" else "")
    if rank() == 0:
        write_report(report, checkpoint, model.parameter_count(), file, dataset.name, json_path)
        plots.draw_all(figures, file.name, checkpoint.dataset, dataset, report, probabilities, checkpoint.history)
        print(as_text(report, f"{dataset.name} test split, {file.name}"))
        print(f"\nreport: {printable(str(json_path))}\nfigures: {printable(str(figures))}")
        warn_out_of_distribution(report, dataset.name)
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
    with atomic_write(path) as temporary:
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
    checkpoint: Path = DEFAULT,
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
    file = or_shipped(checkpoint)
    model = load_checkpoint(file)
    pick_device(device)
    check_output(output_dir)
    trained_on = "auto" if model.dataset == "mnist" else model.dataset
    data = load_dataset(trained_on if dataset == "auto" else dataset, data_dir)
    if Path(dataset).is_dir() and data.name != model.dataset:
        data = all_as_test(data)
    evaluate_and_show(model, file, data, device, output_dir)


def main(argv: Sequence[str] | None = None, prog: str = "evaluate.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
