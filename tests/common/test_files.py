"""Files are written atomically."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, check_writable, remove_partial_files


def test_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    for text in ("first", "second"):
        with atomic_write(path) as temporary:
            temporary.write_text(text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_partial_files_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    writer = (
        "import sys, time; from pathlib import Path; from mnist_cnn.common.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); print('half', flush=True); time.sleep(60)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", writer, tmp_path / name], stdout=subprocess.PIPE)
        for name in ("dead.txt", "alive.txt")
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == b"half\n"
    dead, alive = processes
    dead.kill()
    dead.wait()
    others = {".hidden.123.txt", ".unfinished", "a.123.unfinished.txt"}
    for name in others:
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others, f".alive.{alive.pid}.unfinished.txt"}
    alive.kill()
    for process in processes:
        process.communicate()


def test_a_writable_folder_stays_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "deep" / "folder")
    assert list((tmp_path / "deep" / "folder").iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write to .*--output-dir"):
        check_writable(tmp_path / "file")


def test_what_cannot_be_written_is_named_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with pytest.raises(OSError, match=r"No space") as caught, atomic_write(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.filename, caught.value.errno) == (str(path), errno.ENOSPC)
