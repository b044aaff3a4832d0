"""A network's folder, safetensors and JSON, gives the checkpoint's logits, from disk and from a Hub."""

import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import ROOT, Program, assert_one_line_error, environment
from mnist_cnn import CNN
from mnist_cnn.cnn_model import ModelConfig, build
from mnist_cnn.common.errors import InputError
from mnist_cnn.export import export_safetensors
from mnist_cnn.models.checkpoint import SHIPPED, Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.splits import Dataset


def random_checkpoint(config: ModelConfig, path: Path) -> Checkpoint:
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        dataset="digits",
        classes=tuple("0123456789"),
        model_config=config,
        state_dict=build(config).state_dict(),
        train_config={},
        data_sha256="",
        history=[],
        temperature=1.5,
    )
    save_checkpoint(checkpoint, path)
    return checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Export a small network."""
    random_checkpoint(ModelConfig(stages=((4,), (8, 8))), tmp_path / "model.pth")
    export_safetensors(tmp_path / "model.pth", tmp_path / "network")
    return tmp_path / "network"


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(stages=((4,), (8, 8), (8,)), shared=True, average=True),
        ModelConfig(stages=((6,), (6, 6), (8,)), looped=True),
        ModelConfig(stages=((4,), (12, 12)), looped=True, average=True, class_maps=True),
    ],
)
def test_a_folder_gives_the_checkpoints_logits(config: ModelConfig, digits: Dataset, tmp_path: Path) -> None:
    expected = random_checkpoint(config, tmp_path / "model.pth").build_model()
    export_safetensors(tmp_path / "model.pth", tmp_path / "network")
    network = CNN.from_pretrained(str(tmp_path / "network"))
    assert network.config == config
    assert not network.training
    images = digits.test.images[:20]
    torch.testing.assert_close(network(images), expected(images), rtol=0, atol=0)


def test_export_writes_the_shipped_network(program: Program, digits: Dataset, tmp_path: Path) -> None:
    result = program("mnist-cnn", "export", "--safetensors", "network")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "network").iterdir()) == ["config.json", "model.safetensors"]
    assert not list(tmp_path.glob("**/*.onnx"))
    about = json.loads((tmp_path / "network" / "config.json").read_text(encoding="utf-8"))
    checkpoint = load_checkpoint(SHIPPED)
    assert about["classes"] == list(checkpoint.classes)
    assert about["temperature"] == checkpoint.temperature
    network, images = CNN.from_pretrained(tmp_path / "network"), digits.test.images
    torch.testing.assert_close(network(images), checkpoint.build_model()(images), rtol=0, atol=0)


def test_an_ensemble_is_refused(program: Program, tmp_path: Path) -> None:
    random_checkpoint(ModelConfig(stages=((4,), (8,)), members=2), tmp_path / "model.pth")
    result = program("mnist-cnn", "export", "--checkpoint", "model.pth", "--safetensors", "network")
    assert_one_line_error(result, "model.pth averages several networks")


def test_what_is_damaged_or_foreign_is_said_in_one_line(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def refused(words: str) -> None:
        with pytest.raises(InputError, match=words) as error:
            CNN.from_pretrained(folder)
        assert "\n" not in str(error.value)

    name = "classifier.weight"
    for change, words in (
        ({name: torch.full_like(tensors[name], torch.nan)}, "is not finite"),
        ({name: tensors[name].double()}, f"{name} is not finite, or not torch.float32"),
        ({"classifier.weight": torch.zeros(3, 3)}, "size mismatch"),
        ({"more": torch.zeros(1)}, "Unexpected key"),
    ):
        save_file(tensors | change, folder / "model.safetensors")
        refused(words)
    (folder / "model.safetensors").write_bytes(b"nothing")
    refused("no readable model.safetensors")
    save_file(tensors, folder / "model.safetensors")
    CNN.from_pretrained(folder)
    for text, words in (
        ("{", "no readable config.json"),
        ("[]", "is not a JSON object"),
        ("{}", "is not a network of this program: 'model_config'"),
        (json.dumps(about | {"model_config": about["model_config"] | {"stages": [[10**10]]}}), "from 1 to 4096"),
        (json.dumps(about | {"model_config": about["model_config"] | {"stages": [[4]]}}), "size mismatch"),
    ):
        (folder / "config.json").write_text(text, encoding="utf-8")
        refused(words)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="is no folder, and no name on the Hugging Face Hub"):
        CNN.from_pretrained("nowhere")


@pytest.fixture
def hub(folder: Path) -> Iterator[str]:
    """Serve the folder as the Hub serves `someone/digits`."""
    commit = "0" * 40

    class Hub(BaseHTTPRequestHandler):
        def answer(self, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def do_GET(self) -> None:
            name = self.path.split("?")[0].rpartition("/")[2]
            if self.path.startswith("/api/models/someone/digits"):
                files = [{"rfilename": file.name, "size": file.stat().st_size} for file in folder.iterdir()]
                about = {"id": "someone/digits", "sha": commit, "siblings": files}
                entries = [{"type": "file", "path": f["rfilename"], "size": f["size"], "oid": commit} for f in files]
                content = json.dumps(entries if "/tree/" in self.path else about).encode()
                self.answer(content, {"Content-Type": "application/json"})
            elif self.path.startswith("/someone/digits/resolve/") and (folder / name).is_file():
                headers = {"ETag": f'"{name}"', "X-Repo-Commit": commit}
                self.answer((folder / name).read_bytes(), headers)
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815  # as http.server calls it

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_name_on_the_hub_is_downloaded(hub: str, folder: Path, tmp_path: Path) -> None:
    code = """
        import sys
        from mnist_cnn import CNN
        print(sum(parameter.sum().item() for parameter in CNN.from_pretrained(sys.argv[1]).parameters()))
    """
    where = environment(HF_ENDPOINT=hub, HF_HOME=str(tmp_path / "cache"), HF_HUB_DISABLE_TELEMETRY="1")

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", textwrap.dedent(code), name]
        return subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True, timeout=120)

    found, expected = run("someone/digits"), run(str(folder))
    assert found.returncode == 0, found.stderr
    assert found.stdout == expected.stdout != ""
    missing = run("someone/letters")
    assert "InputError: someone/letters is no folder here, and the Hugging Face Hub does not give it" in missing.stderr


def test_torch_hub_loads_the_network_without_installation(tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.path[:] = [path for path in sys.path if "mnist_cnn" not in path and path != {str(ROOT)!r}]
        sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
        import torch
        network = torch.hub.load({str(ROOT)!r}, "mnist_cnn", source="local")
        print(network(torch.zeros(2, 1, 28, 28)).shape, sum(p.numel() for p in network.parameters()), network.training)
        print(sys.modules["mnist_cnn"].__file__)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    network, package = result.stdout.splitlines()
    assert network == "torch.Size([2, 10]) 67514 False"
    assert Path(package) == ROOT / "src" / "__init__.py"
