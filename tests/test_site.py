"""The reference of the commands has every command and every flag, and the site's hook knows where files go."""

import dataclasses
import re
import sys

from conftest import ROOT
from mnist_cnn.cli import COMMANDS
from mnist_cnn.training.augment import AugmentConfig
from mnist_cnn.training.config import TrainConfig

sys.path.insert(0, str(ROOT / "scripts"))
import command_reference


def test_the_reference_has_every_command_and_flag() -> None:
    page = command_reference.reference()
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == list(COMMANDS)
    train = page.split("\n## train\n")[1].split("\n## ")[0]
    for field in dataclasses.fields(TrainConfig):
        assert f"--{field.name.replace('_', '-')}" in train or field.name == "augment"
    for field in dataclasses.fields(AugmentConfig):
        assert re.search(rf"^- `--augment\.{field.name} \w+`: \w", train, re.MULTILINE)
    assert "\n- `PICTURE...`: Pictures, folders of pictures, or - for one on standard input.\n" in page
    assert not re.search(r"[│╭╰─]|-----|\n- `[^`]*`:?\n", page)
    assert str(ROOT) not in page


def test_the_nav_names_every_page() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"^ +- .*: (\S+\.md)$", settings, re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages < named
    assert named - pages == {"reference/commands.md", "CHANGELOG.md", "CONTRIBUTING.md", "MODEL_CARD.md", "SECURITY.md"}
