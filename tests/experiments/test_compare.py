"""Finished trainings stand side by side, with what their reports say and nothing else."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import scipy.stats
from matplotlib import style
from matplotlib.figure import Figure

from conftest import ROOT, assert_one_line_error, environment
from mnist_cnn import plots
from mnist_cnn.evaluate import evaluate, infer, write_report
from mnist_cnn.experiments import compare, compare_figure
from mnist_cnn.experiments.run_report import Run, read_run
from mnist_cnn.experiments.study_report import Study, read_study
from mnist_cnn.models.checkpoint import load_checkpoint, save_checkpoint
from mnist_cnn.splits import Dataset
from mnist_cnn.train import fit
from mnist_cnn.training.config import PRESETS

PROGRAM = Path(sys.executable).with_name("mnist-cnn")
SHIPPED = ROOT / "saved_models" / "mnist_cnn_final.json"
ENSEMBLE = ROOT / "benchmarks" / "best_average.json"
REPORT = Path("saved_models") / "digits_fast_final.json"
CHECKPOINT = REPORT.with_suffix(".pth")


@pytest.fixture(scope="module")
def trained(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of two trainings with their reports, as train does but for its figures."""
    folder = tmp_path_factory.mktemp("trained")
    plain = dataclasses.replace(PRESETS["fast"].train, epochs=2, output_dir=folder / "plain")
    rotation = dataclasses.replace(plain.augment, rotation=8.0)
    rotated = dataclasses.replace(plain, epochs=1, seed=3, augment=rotation, output_dir=folder / "rotated")
    for config in (plain, rotated):
        checkpoint = fit(digits, config)
        model = checkpoint.build_model()
        report, _ = evaluate(model, digits.test, digits.classes, checkpoint.temperature)
        file = config.output_dir / REPORT
        save_checkpoint(checkpoint, config.output_dir / CHECKPOINT)
        write_report(report, checkpoint, model.parameter_count(), file.with_suffix(".pth"), digits.name, file)
    return folder


@pytest.fixture(autouse=True)
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder but for the two trainings' reports."""
    for run in ("plain", "rotated"):
        (tmp_path / run / REPORT.parent).mkdir(parents=True)
        shutil.copy(trained / run / REPORT, tmp_path / run / REPORT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(report: Path) -> dict[str, Any]:
    content = json.loads(report.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def change(report: Path, **changes: Any) -> None:
    report.write_text(json.dumps(read(report) | changes), encoding="utf-8")


def printed(capsys: pytest.CaptureFixture[str], *args: str | Path) -> list[str]:
    compare.main([str(arg) for arg in args])
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def cells(line: str) -> list[str]:
    return re.split(" {2,}", line)


def expected_results(*runs: tuple[str, dict[str, Any]]) -> list[list[str]]:
    columns = []
    for title, report in runs:
        low, high = report["interval"]
        last = report["history"][-1]
        columns.append(
            {
                "results": title,
                "evaluated on": "digits test split",
                "images": "360",
                "errors": str(report["errors"]),
                "accuracy": f"{100 * (1 - report['errors'] / 360):.2f}%",
                "95 % interval": f"{100 * low:.2f}% to {100 * high:.2f}%",
                "loss": f"{report['loss']:.4f} nats",
                "calibration error": f"{100 * report['calibration_error']:.2f}%",
                "parameters": "29,610",
                "epochs": str(len(report["history"])),
                "seconds of training": f"{sum(epoch['seconds'] for epoch in report['history']):.1f}",
                "last validation loss": f"{last['val_loss']:.4f} nats",
                "last validation accuracy": f"{100 * last['val_accuracy']:.2f}%",
            }
        )
    return [[name, *(column[name] for column in columns)] for name in columns[0]]


def test_two_trainings_side_by_side(trained: Path) -> None:
    command = [str(PROGRAM), "compare", "plain", "rotated"]
    result = subprocess.run(command, cwd=trained, env=environment(), capture_output=True, encoding="utf-8", timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert [cells(line) for line in lines[:4]] == [
        ["settings that differ", "plain", "rotated"],
        ["epochs", "2", "1"],
        ["augment.rotation", "0", "8.0"],
        ["seed", "0", "3"],
    ]
    reports = [(run, read(trained / run / REPORT)) for run in ("plain", "rotated")]
    assert lines[4] == ""
    assert [cells(line) for line in lines[5:18]] == expected_results(*reports)
    assert len({len(line) for line in lines[:4]}) == len({len(line) for line in lines[5:18]}) == 1, "columns align"
    assert max(map(len, lines)) <= 130
    assert [line.split(":")[0] for line in lines[18:]] == ["", "difference", "p-value", "effect", "", "figure"]
    assert lines[-1] == "figure: " + str(Path("images/compare.png"))
    assert matplotlib.image.imread(trained / "images" / "compare.png").shape[:2] == (585, 1300)


def test_the_same_settings_make_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("plain", "again")
    lines = printed(capsys, "plain", "again")
    assert lines[:2] == ["no setting differs", ""]
    assert cells(lines[2]) == ["results", "plain", "again"]


def test_what_a_run_was_trained_on_and_its_size_are_settings(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "plain", SHIPPED)
    assert cells(lines[0]) == ["settings that differ", "plain", ROOT.name]
    assert cells(lines[1]) == ["trained on", "digits", "mnist"]
    assert cells(lines[2]) == ["parameters", "29,610", f"{read(SHIPPED)['parameters']:,}"]
    assert ["preset", "fast", "default"] in map(cells, lines)
    assert not any(line.startswith("precision") for line in lines), "it is the same"
    assert not any("test:" in line or "p-value" in line for line in lines), "these are other images"


def test_a_setting_that_one_report_lacks_differs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("plain", "older")
    config = read(here / "plain" / REPORT)["train_config"]
    del config["augment"]["degrade"]
    change(Path("older") / REPORT, train_config=config)
    assert [cells(line) for line in printed(capsys, "older", "plain")[:3]] == [
        ["settings that differ", "older", "plain"],
        ["augment.degrade", "-", "0"],
        [""],
    ]


def test_an_ensemble_has_results_but_no_curve(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, SHIPPED, ENSEMBLE)
    assert cells(lines[0]) == ["settings that differ", ROOT.name, "best_average.json"]
    assert ["seed", "0", "[0, 1, 2, 3, 4]"] in map(cells, lines)
    seconds = sum(epoch["seconds"] for epoch in read(SHIPPED)["history"])
    assert ["seconds of training", f"{seconds:.1f}", "-"] in map(cells, lines)
    assert Path("images/compare.png").exists()


def test_without_any_history_there_is_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ENSEMBLE, "other.json")
    assert printed(capsys, ENSEMBLE, "other.json")[-1] == "no figure: none of them has a history"
    assert not Path("images").exists()


def wrong(run: str) -> set[int]:
    return set(read(Path(run) / REPORT)["misclassified"])


def test_two_runs_are_tested_image_by_image(trained: Path, digits: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = load_checkpoint(trained / "plain" / CHECKPOINT)
    predicted = infer(checkpoint.build_model(), digits.test).argmax(dim=1)
    assert wrong("plain") == set((predicted != digits.test.labels).nonzero()[:, 0].tolist())
    won, lost = len(wrong("plain") - wrong("rotated")), len(wrong("rotated") - wrong("plain"))
    lines = printed(capsys, "plain", "rotated")[-6:]
    assert lines[1].startswith(f"difference: {(won - lost) / 3.6:+.3f} points of accuracy for rotated (95 % interval ")
    p = scipy.stats.binomtest(won, won + lost).pvalue
    assert lines[2] == (
        f"p-value: {p:.2g}, {'significant at 5 %' if p < 0.05 else 'it may be chance'} (McNemar's exact test, "
        f"{won} images right only in the second, {lost} only in the first)"
    )
    more = "fewer" if won >= lost else "more"
    assert lines[3].startswith(f"effect: {abs(won - lost):.1f} of 360 images {more} misclassified (95 % interval ")
    turned = printed(capsys, "rotated", "plain")[-6:]
    assert turned[1].startswith(f"difference: {(lost - won) / 3.6:+.3f} points of accuracy for plain (95 % interval ")
    if won != lost:
        assert turned[3].replace("more", "fewer") == lines[3].replace("more", "fewer")


def test_without_the_errors_of_each_image_there_is_no_test(capsys: pytest.CaptureFixture[str]) -> None:
    older = read(Path("plain") / REPORT)
    del older["misclassified"]
    (Path("plain") / REPORT).write_text(json.dumps(older), encoding="utf-8")
    expected = "no test: the report of plain does not list what it misclassifies; mnist-cnn evaluate does"
    assert printed(capsys, "plain", "rotated")[-3] == printed(capsys, "rotated", "plain")[-3] == expected


@pytest.mark.parametrize("other", [{"count": 361}, {"evaluated_on": "photographs test split"}])
def test_of_other_images_no_test_is_reported(capsys: pytest.CaptureFixture[str], other: dict[str, Any]) -> None:
    change(Path("rotated") / REPORT, **other)
    assert not any("test:" in line or "p-value" in line for line in printed(capsys, "plain", "rotated"))


def test_of_three_runs_no_test_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("plain", "again")
    assert not any("p-value" in line for line in printed(capsys, "plain", "rotated", "again"))


FAST, DEFAULT, TINY = (ROOT / "benchmarks" / f"{name}_seeds.jsonl" for name in ("fast", "default", "tiny"))


def test_two_studies_are_tested_over_their_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[json.loads(line) for line in path.read_text().splitlines()] for path in (FAST, DEFAULT)]
    fast, default = ([row["accuracy"] for row in study] for study in rows)
    lines = printed(capsys, FAST, DEFAULT)
    assert cells(lines[0]) == ["settings that differ", "fast_seeds.jsonl", "default_seeds.jsonl"]
    assert ["epochs", "1", "10"] in map(cells, lines)
    assert not any(line.startswith("seed ") for line in lines)
    shown = [f"{100 * np.mean(some):.3f} +- {100 * np.std(some, ddof=1):.3f}%" for some in (fast, default)]
    assert ["accuracy", *shown] in map(cells, lines)
    assert ["images", "10,000", "10,000"] in map(cells, lines)
    test = scipy.stats.ttest_ind(default, fast, equal_var=False)
    low, high = (100 * bound for bound in test.confidence_interval())
    difference = 100 * (np.mean(default) - np.mean(fast))
    points = f"{difference:+.3f} points of accuracy for default_seeds.jsonl"
    effect = f"{100 * difference:.1f} of 10,000 images fewer misclassified"
    assert lines[-5:-2] == [
        f"difference: {points} (95 % interval {low:+.3f} to {high:+.3f})",
        f"p-value: {test.pvalue:.2g}, significant at 5 % (Welch's t-test over 20 and 5 seeds)",
        f"effect: {effect} (95 % interval {100 * low:.1f} to {100 * high:.1f})",
    ]
    assert Path("images/compare.png").exists()


def rows_of(path: Path, seeds: int, **changes: Any) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()[:seeds]
    return "".join(json.dumps(json.loads(line) | changes) + "\n" for line in lines)


def test_studies_of_one_seed_are_tested_image_by_image(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.jsonl").write_text(rows_of(FAST, 1))
    Path("b.jsonl").write_text(rows_of(DEFAULT, 1))
    assert "McNemar's exact test" in printed(capsys, "a.jsonl", "b.jsonl")[-4]


@pytest.mark.parametrize("count", [1, 3])
def test_studies_without_spread_are_not_tested(capsys: pytest.CaptureFixture[str], count: int) -> None:
    Path("a.jsonl").write_text(rows_of(FAST, count, accuracy=0.99, count=10_000))
    Path("b.jsonl").write_text(rows_of(FAST, 3, accuracy=0.98, count=10_000))
    expected = "no test: both studies need two seeds or more, and one of them seeds that do not all score the same"
    assert printed(capsys, "a.jsonl", "b.jsonl")[-3] == expected


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([FAST, "plain"], "some are studies (.jsonl) and some are single runs"),
        ([FAST], "nothing to compare with"),
        ([FAST, FAST], "fast_seeds.jsonl comes twice"),
        ([FAST, "none.jsonl"], "none.jsonl is missing or empty; name a file that mnist-cnn study --output wrote"),
        ([FAST, "two.jsonl"], "two.jsonl has rows of several recipes (parameters, preset, epochs"),
        ([FAST, "history.jsonl"], "history.jsonl does not hold the rows of a study"),
        ([FAST, "thin.jsonl"], "thin.jsonl lacks results of a study"),
    ],
)
def test_wrong_studies_are_told_in_a_line(
    capsys: pytest.CaptureFixture[str], args: list[str | Path], words: str
) -> None:
    Path("two.jsonl").write_text(rows_of(FAST, 1) + rows_of(TINY, 1))
    Path("history.jsonl").write_text('{"epoch": 1}\n')
    Path("thin.jsonl").write_text('{"dataset": "digits", "recipe": {"seed": 0}}\n')
    with pytest.raises(SystemExit) as stop:
        compare.main([str(arg) for arg in args])
    captured = capsys.readouterr()
    assert_one_line_error(
        subprocess.CompletedProcess(args, int(str(stop.value.code)), captured.out, captured.err), words
    )


def drawn(*compared: Run) -> Figure:
    return figure_of(compared)


def figure_of(compared: Sequence[Run] | Sequence[Study]) -> Figure:
    with style.context(plots.STYLE):
        figure = Figure(figsize=(10, 4.5), layout="constrained")
        compare_figure.draw(figure, compared)
        figure.draw_without_rendering()
    return figure


def test_curves_are_the_histories(here: Path) -> None:
    plain, rotated = (read_run(here / run / REPORT, run) for run in ("plain", "rotated"))
    history = read(here / "plain" / REPORT)["history"]
    figure = drawn(rotated, plain)
    curves = [[epoch["val_loss"] for epoch in history], [1 - epoch["val_accuracy"] for epoch in history]]
    for axes, curve in zip(figure.axes, curves, strict=True):
        single, double = (np.asarray(line.get_xydata()) for line in axes.lines)
        np.testing.assert_allclose(double, list(zip([1, 2], curve, strict=True)))
        assert single.shape == (1, 2)
        assert axes.get_title(loc="left").endswith(": plain"), "two epochs teach more than one"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["digits, rotated", "digits, plain"]


def test_runs_of_one_epoch_are_points_in_rows(here: Path) -> None:
    run = read_run(here / "rotated" / REPORT, "a")
    worse = dataclasses.replace(run, title="b" * 60, val_loss=[9.0], val_errors=[0.9])
    figure = drawn(run, worse)
    for axes, values in zip(figure.axes, ([run.val_loss[0], 9.0], [run.val_errors[0], 0.9]), strict=True):
        points = [np.asarray(line.get_xydata())[0].tolist() for line in axes.lines]
        assert points == [[values[0], 0], [values[1], 1]]
        assert axes.get_title(loc="left").endswith(": a")
        low, high = axes.get_xlim()
        assert low < min(values) < max(values) < high
        assert axes.get_window_extent().width > figure.bbox.width / 4
    assert [label.get_text().replace("\n", "").replace(" ", "") for label in figure.axes[0].get_yticklabels()] == [
        "digits,a",
        f"digits,{'b' * 60}",
    ]


def test_studies_are_points_with_the_interval_of_their_mean() -> None:
    studies = [read_study(path, path.stem) for path in (FAST, DEFAULT)]
    figure = figure_of(studies)
    losses = [json.loads(line)["loss"] for line in FAST.read_text().splitlines()]
    left = figure.axes[0]
    np.testing.assert_allclose(np.asarray(left.lines[0].get_xdata()), losses)
    (bar,) = left.containers[0].lines[2]  # type: ignore[attr-defined]
    ends = bar.get_segments()[0][:, 0]
    low, high = scipy.stats.bootstrap((losses,), np.mean, rng=0).confidence_interval
    np.testing.assert_allclose(ends, [low, high], atol=0.2 * (high - low))
    assert left.get_title(loc="left").replace("\n", " ").endswith(": default_seeds")
    for axes in figure.axes:
        box = axes.title.get_window_extent()
        assert box.x1 <= figure.bbox.width


def test_runs_that_end_alike_are_counted(here: Path) -> None:
    run = read_run(here / "plain" / REPORT, "a")
    worse = dataclasses.replace(run, val_loss=[9.0, 9.0], val_errors=[0.9, 0.9])
    figure = drawn(run, worse, dataclasses.replace(run, title="b"))
    assert figure.axes[0].get_title(loc="left") == f"Lowest loss at the end, {run.val_loss[-1]:.4f}: 2 runs"
    assert figure.axes[1].get_title(loc="left") == f"Fewest errors at the end, {run.val_errors[-1]:.2%}: 2 runs"


@pytest.mark.parametrize("errors", [0.02, 0.0])
def test_eight_long_names_leave_room_for_the_curves(here: Path, errors: float) -> None:
    run = read_run(here / "plain" / REPORT, "a")
    run = dataclasses.replace(run, val_errors=[0.1, errors])
    figure = drawn(*(dataclasses.replace(run, title=f"{n}_{'long' * 12}") for n in range(8)))
    for axes in figure.axes:
        assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 8
        assert len({line.get_marker() for line in axes.lines}) == 8
        bottom, top = axes.get_ylim()
        values = np.concatenate([np.asarray(line.get_ydata()) for line in axes.lines])
        assert bottom < values.min() < values.max() < top, "every point is in sight"
        assert axes.get_position().height > 0.3
        assert axes.get_title(loc="left").count("\n") < 10
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.width


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["plain", "nowhere"], "there is no nowhere; name the --output-dir of a finished training, or a report"),
        (["plain", "empty"], f"no report {Path('empty/saved_models/*_final.json')}; name the --output-dir"),
        (["plain", "two"], f"two has 2 reports; name one of {Path('two') / REPORT}, {Path('two/saved_models/mnist')}"),
        (["plain"], "nothing to compare with; name two runs or more"),
        ([], "nothing to compare with; name two runs or more"),
        (["plain", "rotated", Path("plain") / REPORT], f"{Path('plain') / REPORT} comes twice; name each run once"),
        (["plain", "torn.json"], "torn.json cannot be read as JSON: Unterminated string"),
        (["plain", "model.pth"], "model.pth cannot be read as JSON"),
        (["plain", "list.json"], "list.json is not a report of a training; name the --output-dir"),
        (["plain", "number.json"], "number.json is not a report"),
        (["plain", "package.json"], "package.json is not a report"),
        (["plain", "words.json"], "words.json is not a report"),
        (["plain", "flat.json"], "flat.json is not a report"),
        (["plain", "rotated", "--output", "picture.txt"], "--output is picture.txt; it must end in .png"),
        (["plain", "rotated", "--output", "torn.json/a.png"], f"cannot write {Path('torn.json/a.png')}"),
    ],
)
def test_wrong_input_is_told_in_a_line_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str | Path], words: str
) -> None:
    Path("empty/saved_models").mkdir(parents=True)
    shutil.copytree("plain", "two")
    shutil.copy(SHIPPED, "two/saved_models")
    whole = (Path("plain") / REPORT).read_text(encoding="utf-8")
    Path("torn.json").write_text(whole[:20], encoding="utf-8")
    Path("model.pth").write_bytes(b"PK\x03\x04\xff\xfe")
    for name, content in (
        ("list", [1, 2]),
        ("number", 3),
        ("package", {"name": "x"}),
        ("words", json.loads(whole) | {"errors": "many"}),
        ("flat", json.loads(whole) | {"train_config": "fast"}),
    ):
        Path(f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    before = sorted(here.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        compare.main([str(arg) for arg in args])
    captured = capsys.readouterr()
    result = subprocess.CompletedProcess(args, int(str(stop.value.code)), captured.out, captured.err)
    assert_one_line_error(result, words)
    assert captured.out == ""
    assert sorted(here.rglob("*")) == before
