"""Print the reference of the commands as Markdown: what each says with --help."""

import html
import io
import os
from contextlib import redirect_stdout, suppress

from mnist_cnn.cli import COMMANDS, main

COLUMNS = 400  # so that few lines are broken
INTRODUCTION = """# Commands

What `mnist-cnn COMMAND --help` says, written when this site was built. `study` takes every flag of `train`, and a
preset sets the defaults of the other flags.
"""


def said(command: str) -> list[str]:
    """Return the lines that a command prints with --help, without rules."""
    output = io.StringIO()  # has no encoding, so tyro draws rules of ASCII and no boxes
    with redirect_stdout(output), suppress(SystemExit):
        main([command, "--help"])
    return [line.rstrip() for line in output.getvalue().splitlines() if line.strip(" -")]


def as_markdown(lines: list[str]) -> str:
    """Lay out the lines of --help: usage, description, and a list of arguments for each group.

    tyro indents the title of a group by one space, an argument by two, and what it says about it further.
    """
    parts = [f"```text\n{lines[0]}\n```"]
    title = ""
    for line in lines[1:]:
        text, indent = html.escape(line.strip(), quote=False), len(line) - len(line.lstrip())
        if indent == 0:
            parts.append(text)
        elif indent == 1:
            title = text
            parts.append(f"**{title}**" if title != "options" else "")
        elif indent == 2 and (text.startswith("-") or title == "positional arguments"):
            name, _, about = line.strip().partition("  ")
            parts.append(f"- `{name}`: {html.escape(about.strip(), quote=False)}".rstrip())
        elif parts[-1].startswith("- "):
            parts[-1] += f" {text}"
        else:
            parts.append(text)
    return "\n\n".join(part for part in parts if part and not part.startswith("- `-h, --help`"))


def reference() -> str:
    """Lay out the page."""
    os.environ["COLUMNS"] = str(COLUMNS)
    return "\n\n".join([INTRODUCTION, *(f"## {command}\n\n{as_markdown(said(command))}" for command in COMMANDS)])


if __name__ == "__main__":
    print(reference())
