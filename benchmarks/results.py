"""Where a benchmark's results go."""

import json
from pathlib import Path

from mnist_cnn.common.files import atomic_write


def keep(output: Path, name: str, result: object, text: str) -> None:
    """Write a result as NAME.json and its table as NAME.md, and print the table."""
    with atomic_write(output / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
    (output / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
