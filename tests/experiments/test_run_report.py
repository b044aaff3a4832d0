"""Finished trainings are told apart by as little of their paths as will do."""

from pathlib import Path

import pytest

from mnist_cnn.experiments.run_report import titles


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("runs/a/saved_models/x_cnn_final.json", "runs/b/saved_models/x_cnn_final.json"), ["a", "b"]),
        (("a/last/saved_models/x.json", "b/last/saved_models/x.json"), ["a/last", "b/last"]),
        (("a/last/saved_models/x.json", "b/last/saved_models/x.json", "c.json"), ["a/last", "b/last", "c.json"]),
        (("a/saved_models/x.json", "a/saved_models/y.json"), ["x.json", "y.json"]),
        (("x.json", "a/x.json", "b/a/x.json"), ["here/x.json", "here/a/x.json", "b/a/x.json"]),
    ],
)
def test_titles_are_the_shortest_that_tell_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: tuple[str, ...], names: list[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert titles([Path(path) for path in paths]) == [str(Path(name)) for name in names]
