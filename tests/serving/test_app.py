"""The service answers as predict does, refuses what it must, and survives what clients do on purpose."""

import base64
import contextlib
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from conftest import Program, assert_one_line_error
from hostile import encoded
from mnist_cnn.classifier import Classifier
from mnist_cnn.models.onnx_model import PACKAGED, load_onnx
from mnist_cnn.serving.explain import Explainer
from mnist_cnn.serving.schemas import Response
from mnist_cnn.splits import Dataset
from server import DIGITS, PHOTO, post, serving
from test_classifier import as_png

MOST = 200_000


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving("--max-body", str(MOST)) as (address, process):
        yield address
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def only(response: requests.Response) -> dict[str, Any]:
    """Return the result of the only picture."""
    assert response.status_code == 200, response.text
    assert set(response.json()) == {"results", "model", "milliseconds"}
    (result,) = response.json()["results"]
    assert set(result) == {
        "file",
        "text",
        "probability",
        "confident",
        "doubt",
        "digits",
        "turned",
        "alternatives",
        "error",
    }
    return dict(result)


def problem(response: requests.Response) -> tuple[int, str]:
    assert set(response.json()) == {"code", "message"}
    assert "\n" not in response.json()["message"]
    return response.status_code, response.json()["code"]


def test_answers_are_those_of_predict_in_every_way_to_ask(url: str, digits: Dataset) -> None:
    images = digits.test.images[:20, 0].numpy()
    for image, expected in zip(images, Classifier.load().predict(list(images)), strict=True):
        drawing = json.dumps({"pixels": image.tolist()}).encode()
        raw, form = post(url, as_png(image), "image/png"), {"file": ("a.png", as_png(image))}
        sent = requests.post(f"{url}/api/v1/predict", files=form, timeout=30)
        for answer in (post(url, drawing, "application/json"), raw, sent):
            assert answer.status_code == 200
            (digit,) = only(answer)["digits"]
            assert (digit["digit"], digit["label"]) == (expected.digit, expected.label)
            assert (digit["confident"], digit["box"]) == (expected.confident, list(expected.box or ()))
            assert digit["probability"] == max(digit["probabilities"])
            np.testing.assert_allclose(digit["probabilities"], expected.probabilities, atol=1e-5)
        assert only(sent)["file"] == "a.png"


def test_a_photo_of_several_digits_and_several_files(url: str) -> None:
    body = DIGITS.read_bytes()
    answer = only(post(url, body, "application/octet-stream", "read?images=true"))
    assert (answer["text"], answer["error"]) == ("17324", None)
    expected = Classifier.load().read(DIGITS)
    assert [digit["box"] for digit in answer["digits"]] == [list(digit.box or ()) for digit in expected.digits]
    assert [digit["line"] for digit in answer["digits"]] == [0] * 5
    assert np.array([digit["image"] for digit in answer["digits"]]).shape == (5, 28, 28)
    files = [("file", ("one.jpg", PHOTO.read_bytes())), ("file", ("two.jpg", body))]
    both = requests.post(f"{url}/api/v1/read", files=files, timeout=30).json()
    assert [(result["file"], result["text"]) for result in both["results"]] == [("one.jpg", "4"), ("two.jpg", "17324")]
    assert both["model"]["version"]
    assert both["milliseconds"] > 0


def test_what_is_known_of_a_number_decides(url: str) -> None:
    body = DIGITS.read_bytes()
    for query, known in (
        ("length=4", {"length": 4}),
        ("among=17324&among=017324&among=99", {"among": ["17324", "017324", "99"]}),
        ("length=5&at_least=20000&alternatives=3", {"length": 5, "at_least": 20000, "alternatives": 3}),
        ("length=9", {"length": 9}),
    ):
        answer = only(post(url, body, "image/jpeg", f"read?{query}"))
        expected = Classifier.load().read(DIGITS, **known)
        assert (answer["text"], answer["confident"]) == (expected.text, expected.confident)
        assert answer["probability"] == pytest.approx(expected.probability, abs=1e-5)
        assert [one["text"] for one in answer["alternatives"]] == [one.text for one in expected.alternatives]


def test_a_picture_without_the_grid_gets_its_own_error(url: str) -> None:
    page = np.full((220, 220), 230, np.uint8)
    page[10:211:50, 10:211] = page[10:211, 10:211:50] = 30
    assert only(post(url, as_png(page), "image/png", "read?grid=4x4"))["text"] == "....\n....\n....\n...."
    files = [("file", ("grid.png", as_png(page))), ("file", ("row.jpg", DIGITS.read_bytes()))]
    first, second = requests.post(f"{url}/api/v1/read?grid=4x4", files=files, timeout=30).json()["results"]
    assert first["error"] is None
    assert (second["error"]["code"], second["digits"]) == ("no_grid", [])
    assert problem(post(url, as_png(page), "image/png", "read?grid=9x9")) == (422, "no_grid")


@pytest.mark.parametrize(
    "query",
    [
        *("length=0", "length=21", "length=x", "at_least=-1", "at_least=100000000000000000000", "alternatives=0"),
        *("alternatives=21", "among=", "among=12&among=x", f"among={'1' * 21}", "grid=9", "grid=0x9", "grid=9x101"),
        *("grid=9x9&length=3", "among=1&length=1", "length=2&at_least=100", "&".join(["among=1"] * 1001)),
    ],
)
def test_what_cannot_be_known_is_refused(url: str, query: str) -> None:
    assert problem(post(url, PHOTO.read_bytes(), "image/jpeg", f"read?{query}")) == (422, "wrong_value")


def test_photos_of_phones_and_pages_of_scans_are_read_and_turned(url: str) -> None:
    with Image.open(DIGITS) as photo:
        sideways = photo.transpose(Image.Transpose.ROTATE_90)
        heic, pdf = encoded(photo, "HEIF"), encoded(sideways, "PDF")
        pages = encoded(photo, "PDF", save_all=True, append_images=[sideways])
    upright, turned = only(post(url, heic, "image/heic", "read")), only(post(url, pdf, "application/pdf", "read"))
    assert (upright["text"], upright["turned"]) == ("17324", 0)
    assert (turned["text"], turned["turned"]) == ("17324", 90)
    tops = [digit["box"][1] for digit in turned["digits"]]
    assert tops == sorted(tops, reverse=True), "boxes are those of the page as given, where digits go upwards"
    refused = post(url, pages, "application/pdf", "read")
    assert problem(refused) == (422, "not_a_picture")
    assert "a PDF of 2 pages; give one of them" in refused.json()["message"]


def test_a_blank_picture_has_no_digit(url: str) -> None:
    for path in ("predict", "read"):
        answer = only(post(url, as_png(np.full((90, 90), 200, np.uint8)), "image/png", path))
        assert (answer["file"], answer["text"], answer["digits"], answer["error"]) == ("body", "", [], None)
        assert (answer["probability"], answer["confident"], answer["turned"], answer["alternatives"]) == (
            0,
            False,
            0,
            [],
        )


def test_a_bad_file_of_a_form_gets_its_own_error(url: str) -> None:
    files = [("file", (name, body)) for name, body in (("a.jpg", PHOTO.read_bytes()), ("b.txt", b"x"), ("c.png", BOMB))]
    for path in ("predict", "read"):
        first, second, third = requests.post(f"{url}/api/v1/{path}", files=files, timeout=30).json()["results"]
        assert (first["text"], first["error"]) == ("4", None)
        assert (second["file"], second["digits"], second["error"]["code"]) == ("b.txt", [], "not_a_picture")
        assert "b.txt: damaged or not a picture" in second["error"]["message"]
        assert (third["text"], third["error"]["code"]) == ("", "too_many_pixels")
        assert problem(requests.post(f"{url}/api/v1/{path}", files=files[1:], timeout=30)) == (422, "not_a_picture")


def test_head_is_get_without_a_body_and_405_names_what_is_allowed(url: str) -> None:
    for path in ("/", "/docs", "/web/app.js", "/api/v1/model", "/healthz", "/readyz", "/openapi.json"):
        head, get = requests.head(url + path, timeout=9), requests.get(url + path, timeout=9)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
    for method, path, allowed in (
        ("GET", "/api/v1/read", "POST"),
        ("HEAD", "/api/v1/predict", "POST"),
        ("PUT", "/api/v1/predict", "POST"),
        ("POST", "/api/v1/model", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
    ):
        refused = requests.request(method, url + path, timeout=9)
        assert (refused.status_code, refused.headers["allow"]) == (405, allowed), (method, path)


def test_the_documentation_shows_examples_that_hold(url: str) -> None:
    schema = requests.get(f"{url}/openapi.json", timeout=9).json()
    assert {tag["name"] for tag in schema["tags"]} == {"reading", "model", "monitoring"}
    for path in ("/api/v1/predict", "/api/v1/read"):
        operation = schema["paths"][path]["post"]
        assert all(parameter["description"] for parameter in operation["parameters"])
        assert {"200", "400", "408", "413", "415", "422", "503"} <= set(operation["responses"])
        drawing = operation["requestBody"]["content"]["application/json"]["example"]
        sent = requests.post(url + path, json=drawing, timeout=9).json()
        (example,) = schema["components"]["schemas"]["Response"]["examples"]
        shown, answered = (Response.model_validate(one).model_dump() for one in (example, sent))
        assert shape_of(shown) == shape_of(answered)
    assert "/api/predict" not in schema["paths"]
    assert problem(requests.post(f"{url}/api/predict", json=drawing, timeout=9)) == (404, "not_found")


def shape_of(value: object) -> object:
    """Replace values by their types, texts and null alike, and lists by the type of their first item."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    return [shape_of(value[0])] if isinstance(value, list) and value else str if value is None else type(value)


BOMB = b"\x89PNG\r\n\x1a\n" + b"".join(
    len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    for kind, data in (
        (b"IHDR", (100_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])),
        (b"IDAT", zlib.compress(bytes(1000))),
    )
)


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"{", "application/json", (400, "invalid_json")),
        (b"\xff\xfe", "application/json", (400, "invalid_json")),
        (b"[]", "application/json", (422, "wrong_value")),
        (b'{"pixels": []}', "application/json", (422, "wrong_shape")),
        (json.dumps({"pixels": [[0] * 28] * 27}).encode(), "application/json", (422, "wrong_shape")),
        (json.dumps({"pixels": [[0] * 28] * 27 + [[0] * 27]}).encode(), "application/json", (422, "wrong_shape")),
        (json.dumps({"pixels": [[256] * 28] * 28}).encode(), "application/json", (422, "wrong_value")),
        (json.dumps({"pixels": [[0.5] * 28] * 28}).encode(), "application/json", (422, "wrong_value")),
        (json.dumps({"pixels": [["0"] * 28] * 28}).encode(), "application/json", (422, "wrong_value")),
        (json.dumps({"pixels": [[0] * 28] * 28, "more": 1}).encode(), "application/json", (422, "wrong_value")),
        (b"[" * 100_000, "application/json", (400, "invalid_json")),
        (b"", "image/png", (422, "not_a_picture")),
        (b"GIF89a", "image/gif", (422, "not_a_picture")),
        (PHOTO.read_bytes()[:3000], "image/jpeg", (422, "not_a_picture")),
        (BOMB, "image/png", (413, "too_many_pixels")),
        (bytes(MOST + 1), "image/png", (413, "too_large")),
        (b"x", "text/plain", (415, "unsupported_type")),
        (b"x", "", (415, "unsupported_type")),
        (b"x", "multipart/form-data", (400, "invalid_form")),
        (b"x", "multipart/form-data; boundary=b", (400, "invalid_form")),
        (b"--b\r\n\r\n", "multipart/form-data; boundary=b", (400, "invalid_form")),
        (b"--b--\r\n", "multipart/form-data; boundary=b", (422, "no_file")),
    ],
    ids=map(str, itertools.count()),
)
def test_what_cannot_be_answered_is_refused(url: str, body: bytes, kind: str, expected: tuple[int, str]) -> None:
    assert problem(post(url, body, kind)) == expected


def test_other_refusals(url: str) -> None:
    assert problem(requests.get(f"{url}/api/v1/predict", timeout=9)) == (405, "wrong_method")
    assert problem(requests.get(f"{url}/none", timeout=9)) == (404, "not_found")
    assert problem(post(url, b"x", "image/png", "predict?images=maybe")) == (422, "wrong_value")


def test_no_file_of_the_disk_can_be_reached(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    up = ("/web/../serve.py", "/web/%2e%2e/serve.py", "/web/..%2fserve.py", "/web//etc/passwd", "/docs/ui/../core.py")
    for path in up:
        with socket.create_connection((host, int(port)), timeout=9) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert b"".join(iter(lambda: raw.recv(65536), b"")).startswith(b"HTTP/1.1 404"), path


def test_headers_keep_browsers_safe_and_no_other_origin_may_ask(url: str) -> None:
    for path in ("/", "/web/app.js", "/api/v1/model", "/docs"):
        headers = requests.get(url + path, headers={"origin": "https://evil.example"}, timeout=9).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
    with serving("--allow-origin", "https://school.example") as (other, _):
        for origin, allowed in (("https://school.example", "https://school.example"), ("https://evil.example", None)):
            found = requests.get(f"{other}/api/v1/model", headers={"origin": origin}, timeout=9).headers
            assert found.get("access-control-allow-origin") == allowed


def test_metrics_count(url: str) -> None:
    def counted(line: str) -> float:
        text = requests.get(f"{url}/metrics", timeout=9).text
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0

    lines = (
        'mnist_requests_total{path="/api/v1/predict",status="200"}',
        'mnist_digits_total{digit="4"}',
        'mnist_rejected_total{code="not_a_picture"}',
        'mnist_request_seconds_count{path="/api/v1/predict"}',
    )
    before = [counted(line) for line in lines]
    post(url, PHOTO.read_bytes(), "image/jpeg")
    post(url, b"", "image/jpeg")
    assert [counted(line) - start for line, start in zip(lines, before, strict=True)] == [1, 1, 1, 2]


def test_the_loaded_model_is_described(url: str) -> None:
    model = requests.get(f"{url}/api/v1/model", timeout=9).json()
    assert (model["dataset"], model["classes"]) == ("mnist", list("0123456789"))
    assert model["accuracy"] > 0.99
    assert model["weights"] > 1000
    assert date.fromisoformat(model["trained"]).year >= 2026
    assert requests.get(f"{url}/healthz", timeout=9).json() == {"status": "live"}


def raw_request(url: str, head: str, *parts: bytes, pause: float = 0) -> bytes:
    """Send a request by hand; return what comes back until the connection ends."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(f"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n{head}\r\n\r\n".encode())
        received = b""
        with contextlib.suppress(OSError):
            for part in parts:
                raw.sendall(part)
                time.sleep(pause)
        with contextlib.suppress(OSError):  # what was answered can be read even where sending was cut off
            while part := raw.recv(65536):
                received += part
        return received


def test_a_stalled_upload_ends_and_blocks_nobody(url: str) -> None:
    stalled: list[bytes] = []
    head = "Content-Length: 1000\r\nConnection: close"
    threads = [threading.Thread(target=lambda: stalled.append(raw_request(url, head, b"x"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    start = time.monotonic()
    assert only(post(url, PHOTO.read_bytes(), "image/jpeg"))["text"] == "4"
    assert time.monotonic() - start < 8
    for thread in threads:
        thread.join(30)
    assert all(answer.startswith(b"HTTP/1.1 408") and b"too_slow" in answer for answer in stalled)
    assert len(stalled) == 20


def test_bodies_without_a_length_are_counted_and_garbage_is_refused(url: str) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    assert b"too_large" in raw_request(url, "Transfer-Encoding: chunked\r\nConnection: close", *[chunk] * 9)
    for head, body in (
        ("Transfer-Encoding: chunked", b"zz\r\nhello"),
        ("Content-Length: -5", b"x"),
        ("Content-Length: 5\r\nContent-Length: 6", b"x"),
    ):
        assert raw_request(url, head, body)[:12] in (b"HTTP/1.1 400", b""), head
    answers = raw_request(url, "Content-Length: 2\r\nConnection: close", b"xy and more than was promised")
    assert answers.startswith((b"HTTP/1.1 422", b"HTTP/1.1 400"))


def test_connections_opened_and_dropped_leave_it_answering(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    for number in range(10_000):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as raw:
            if number % 3:
                raw.sendall(
                    b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nabc"[: number % 70]
                )
    assert only(post(url, PHOTO.read_bytes(), "image/jpeg"))["text"] == "4"


def test_those_who_connect_and_never_ask_are_hung_up_on(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(300)]
        for raw in silent[::2]:
            raw.sendall(b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nX-Sl")
        asked = silent[-1]
        asked.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert asked.recv(65536).startswith(b"HTTP/1.1 200")
        assert only(post(url, PHOTO.read_bytes(), "image/jpeg"))["text"] == "4"
        assert all(raw.recv(65536) == b"" for raw in silent[:-1])


def test_what_was_accepted_is_answered_before_the_end() -> None:
    with serving() as (address, process):
        codes: list[int] = []

        def ask() -> None:
            codes.append(post(address, DIGITS.read_bytes(), "image/jpeg", "read").status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.15)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)
        assert codes == [200] * 8
        assert process.wait(30) == 0


def test_a_taken_port_and_a_missing_model_are_one_line(program: Program, url: str) -> None:
    port = url.rsplit(":", 1)[1]
    assert_one_line_error(program("app.py", "--port", port), f"cannot listen on 127.0.0.1:{port}", "--port")
    assert_one_line_error(program("app.py", "--port", "70000"), "--port is 70000")
    assert_one_line_error(program("app.py", "--host", "no.such.host.invalid"), "cannot listen on no.such.host")
    assert_one_line_error(program("app.py", "--checkpoint", "none.onnx"), "no model at none.onnx")


def test_schemathesis_finds_no_fault(url: str, tmp_path: Path) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = (Path(sys.executable).with_name("st"), "run", f"{url}/openapi.json", "--max-examples", "25")
    result = subprocess.run([*command, "--checks", checks], cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def test_an_answer_is_explained_and_what_cannot_be_is_refused(url: str, digits: Dataset) -> None:
    image = digits.test.images[0, 0].numpy()
    body = json.dumps({"pixels": image.tolist()}).encode()
    answer = post(url, body, "application/json", "explain?digit=3").json()
    expected = Explainer(load_onnx(PACKAGED)).explain(image, 3)
    np.testing.assert_allclose(answer["occlusion"], expected.occlusion, atol=1e-3)
    for layer, values in zip(answer["layers"], expected.layers, strict=True):
        assert (layer["channels"], layer["height"], layer["width"]) == values.shape
        assert base64.b64decode(layer["values"]) == values.tobytes()
    assert problem(post(url, body, "application/json", "explain?digit=10")) == (422, "wrong_value")
    assert problem(post(url, body, "application/json", "explain")) == (422, "wrong_value")
    assert problem(post(url, as_png(image), "image/png", "explain?digit=3")) == (415, "unsupported_type")


def test_features_the_last_layer_a_filter_and_a_gradient_are_given_and_what_is_wrong_is_refused(url: str) -> None:
    image = np.zeros((28, 28), np.uint8)
    answer = post(url, image.tobytes() * 3, "application/octet-stream", "features").json()
    layer = requests.get(f"{url}/api/v1/last_layer", timeout=30).json()
    assert (answer["count"], answer["size"]) == (3, layer["size"])
    for body in (b"", b"x", bytes(785)):
        assert problem(post(url, body, "application/octet-stream", "features")) == (422, "wrong_shape")
    shown = requests.get(f"{url}/api/v1/filter?layer=0&channel=1", timeout=30).json()
    assert len(shown["values"]) == shown["height"] * shown["width"]
    assert requests.get(f"{url}/api/v1/filter?layer=9&channel=1", timeout=30).status_code == 422
    pixels = json.dumps({"pixels": image.tolist()}).encode()
    codes = {"toward=10": 422, "layer=1&channel=999": 422, "layer=99&channel=0": 422, "toward=3": 200}
    for query, code in codes.items():
        assert post(url, pixels, "application/json", f"gradient?{query}").status_code == code
