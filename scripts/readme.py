"""Write what was measured into README.md, MODEL_CARD.md and the pages of docs/, between their markers."""

import json
import os
import re
import statistics
from pathlib import Path
from typing import Any

from mnist_cnn.experiments.study import Row, read_rows
from mnist_cnn.metrics import ClassScore, Report, as_text
from mnist_cnn.training.config import PRESETS

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "MODEL_CARD.md", *sorted((ROOT / "docs").rglob("*.md")))


def read_report(path: Path) -> tuple[dict[str, Any], Report]:
    """Read a report's JSON: what it is about, and the report itself."""
    about = json.loads(path.read_text(encoding="utf-8"))
    fields = {name: about[name] for name in Report.__dataclass_fields__ if name in about}
    fields["classes"] = [ClassScore(**row) for row in fields["classes"]]
    return about, Report(**fields)


def headline(preset: str, command: str) -> str:
    """Say what a preset's command reaches, over seeds."""
    rows = read_rows(ROOT / "benchmarks" / f"{preset}_seeds.jsonl")
    accuracy = [100 * row["accuracy"] for row in rows]
    raced = read_rows(ROOT / "benchmarks" / "training_speed.jsonl")
    timed = [row for row in raced if row["recipe"]["contestant"] == preset]
    seconds = [row["seconds"] for row in timed]
    return (
        f"`{command}` reaches **{statistics.mean(accuracy):.2f} ± {statistics.stdev(accuracy):.2f} %** test "
        f"accuracy (mean ± standard deviation, n = {len(rows)} seeds, {min(accuracy):.2f} to {max(accuracy):.2f}) in "
        f"{statistics.median(seconds):.0f} s from raw images to the score (median of {len(seconds)}, "
        f"{min(seconds):.0f} to {max(seconds):.0f}) on {timed[0]['hardware']} in {timed[0]['precision']}."
    )


def presets() -> str:
    """Lay out what each preset with a study reaches."""
    lines = [
        "| preset | parameters | epochs | test accuracy % | seeds | seconds of training |",
        "|---|---|---|---|---|---|",
    ]
    for name in PRESETS:
        for suffix, how in (("seeds", ""), ("taught", ", taught by `mnist_cnn_final`")):
            path = ROOT / "benchmarks" / f"{name}_{suffix}.jsonl"
            if rows := read_rows(path):
                lines.append(study_row(f"`{name}`{how}", rows, path.name))
    about, averaged = read_report(ROOT / "benchmarks" / "best_average.json")
    name = f"`best`, {len(about['train_config']['seed'])} averaged"
    lines.append(single(name, about, averaged, "[one average](benchmarks/best_average.json)"))
    note = (
        "Seconds are medians (range), in the precision that the CPU has, of studies that ran beside other work; "
        "those of the [benchmarks](docs/benchmarks.md) ran alone."
    )
    return "\n".join([*lines, "", note])


def study_row(name: str, rows: list[Row], file: str) -> str:
    """Lay out a study as a row of the presets' table."""
    accuracy = [100 * row["accuracy"] for row in rows]
    seconds = [row["seconds"] for row in rows]
    hardware = " and ".join(dict.fromkeys(row["hardware"] for row in rows))
    return (
        f"| {name} | {rows[0]['parameters']:,} | {rows[0]['recipe']['epochs']} | {statistics.mean(accuracy):.2f} ± "
        f"{statistics.stdev(accuracy):.2f} ({min(accuracy):.2f} to {max(accuracy):.2f}) | "
        f"[{len(rows)}](benchmarks/{file}) | {statistics.median(seconds):.1f} "
        f"({min(seconds):.1f} to {max(seconds):.1f}), {rows[0]['precision']} on {hardware} |"
    )


def single(name: str, about: dict[str, Any], report: Report, seeds: str) -> str:
    """Lay out one report as a row of the presets' table."""
    low, high = report.interval
    accuracy = f"{report.accuracy:.2%} (95 % Wilson interval {low:.2%} to {high:.2%})"
    return f"| {name} | {about['parameters']:,} | {about['train_config']['epochs']} | {accuracy} | {seeds} | |"


def table(about: dict[str, Any], report: Report) -> str:
    """Lay out a model's result, a class a row."""
    low, high = report.interval
    rows = [f"| {s.name} | {s.precision:.4f} | {s.recall:.4f} | {s.f1:.4f} | {s.support:,} |" for s in report.classes]
    summary = (
        f"{about['model']}, seed {about['train_config']['seed']}: **{report.accuracy:.2%}** on the "
        f"{about['evaluated_on']} ({report.errors} errors in {report.count:,}; 95 % Wilson interval {low:.2%} to "
        f"{high:.2%}), loss {report.loss:.4f} nats, expected calibration error {report.calibration_error:.2%}, "
        f"{about['parameters']:,} parameters."
    )
    head = ["| digit | precision | recall | F1 | images |", "|---|---|---|---|---|"]
    return "\n".join([summary, "", *head, *rows])


def rebased(text: str, folder: Path) -> str:
    """Let the links of a text, which are relative to the repository, be relative to a folder of it."""

    def moved(link: re.Match[str]) -> str:
        return f"]({Path(os.path.relpath(ROOT / link[1], folder)).as_posix()})"

    return re.sub(r"\]\(([\w./]+)\)", moved, text)


def fill(page: str, sections: dict[str, str]) -> str:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`."""
    for name, text in sections.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = between.sub(lambda marker, text=text: f"{marker[1]}{text}\n{marker[2]}", page)  # type: ignore[misc]
    return page


def filled_pages() -> dict[Path, str]:
    """Return what each page should say."""
    about, report = read_report(ROOT / "saved_models" / "mnist_cnn_final.json")
    terminal = as_text(report, f"{about['evaluated_on']}, {about['model']}")
    default = headline("default", "python src/main.py")
    benchmarks = sorted((ROOT / "benchmarks").glob("*.md"))
    sections = {
        "headline": default,
        "presets": presets(),
        **{path.stem: path.read_text(encoding="utf-8").strip() for path in benchmarks},
        "output": f"```text\n{terminal}\n```",
        "results": table(about, report),
        "reader results": table(*read_report(ROOT / "benchmarks" / "reader.json")),
    }
    return {
        path: fill(path.read_text(encoding="utf-8"), {n: rebased(text, path.parent) for n, text in sections.items()})
        for path in PAGES
    }


if __name__ == "__main__":
    for path, text in filled_pages().items():
        path.write_text(text, encoding="utf-8")
