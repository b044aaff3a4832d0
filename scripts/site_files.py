"""A hook of MkDocs: pages that stand outside docs/, files that pages link to, and the reference of the commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "MODEL_CARD.md", "SECURITY.md")
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)]*)?\))")


def on_config(_config: MkDocsConfig) -> None:
    """Make the link by which mkdocstrings finds the package: the folder src/ under the package's name."""
    link = ROOT / "build" / "typed" / "mnist_cnn"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT / "src")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the commands' reference, the pages outside docs/, and every file that a page links to."""
    command = [sys.executable, str(ROOT / "scripts" / "command_reference.py")]
    reference = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    files.append(File.generated(config, "reference/commands.md", content=reference))
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    for page in [*DOCS.rglob("*.md"), *(ROOT / name for name in ROOT_PAGES)]:
        for _, target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            place = place_in_site(path)
            if path.is_file() and place.startswith("files/") and not files.get_file_from_path(place):
                files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def place_in_site(path: Path) -> str:
    """Return where a file of the repository is in the site, relative to the site's root."""
    if path == ROOT / "README.md":
        return "index.md"
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    return name if name in ROOT_PAGES else f"files/{name}"


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links to files of the repository lead to their places in the site."""
    source = page.file.src_uri
    folder = ROOT if source in ROOT_PAGES else (DOCS / source).parent

    def moved(link: re.Match[str]) -> str:
        path = (folder / link[2]).resolve()
        if "://" in link[2] or not path.exists():
            return link[0]
        place = os.path.relpath(place_in_site(path), Path(source).parent)
        return f"{link[1]}{Path(place).as_posix()}{link[3]}"

    return LINK.sub(moved, markdown)
