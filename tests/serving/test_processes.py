"""Several workers share a port, count together, are replaced when they die, and end together; requests are logged."""

import json
import os
import re
import signal

import psutil
import pytest
import requests
from test_sandbox import in_time

from conftest import Program, assert_one_line_error
from server import PHOTO, post, serving


def workers(parent: int) -> list[psutil.Process]:
    """List the processes that serve: the children that listen, not those that decode."""
    children = psutil.Process(parent).children()
    return [child for child in children if any(c.status == "LISTEN" for c in child.net_connections("tcp"))]


def answered(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=10).ok
    except requests.ConnectionError:
        return False


def test_workers_share_a_port_count_together_are_replaced_and_end_together() -> None:
    with serving("--workers", "2") as (url, process):
        assert in_time(lambda: len(workers(process.pid)) == 2, 20)
        first = workers(process.pid)
        for _ in range(20):  # each on a connection of its own
            assert post(url, PHOTO.read_bytes(), "image/jpeg").json()["results"][0]["text"] == "4"
        counted = r'mnist_requests_total\{path="/api/v1/predict",status="200"\} 20\.0'
        assert re.search(counted, requests.get(f"{url}/metrics", timeout=10).text)

        os.kill(first[0].pid, signal.SIGKILL)
        assert in_time(lambda: len(now := workers(process.pid)) == 2 and first[0] not in now, 20), "it is replaced"
        assert first[1] in workers(process.pid), "the other goes on"
        assert all(answered(url) for _ in range(20))

        everyone = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(30) == 0
        _, alive = psutil.wait_procs(everyone, 10)
        assert not alive, "no process is left behind"
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_each_request_has_an_id_that_its_line_in_the_access_log_has() -> None:
    with serving("--access-log") as (url, process):
        given = requests.get(f"{url}/healthz?key=secret", headers={"X-Request-ID": "proxy-1.a_B"}, timeout=10)
        made = requests.get(f"{url}/nothing%0Ahere", headers={"X-Request-ID": 'no"id'}, timeout=10)
        assert given.headers["x-request-id"] == "proxy-1.a_B"
        assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"]), "what is no id is not repeated"
        process.terminate()
        process.wait(30)
        assert process.stderr
        written = process.stderr.read()
    lines = [json.loads(line) for line in written.splitlines()]
    by_id = {line["id"]: line for line in lines}
    assert len(by_id) == len(lines)
    one, other = by_id["proxy-1.a_B"], by_id[made.headers["x-request-id"]]
    assert (one["method"], one["path"], one["status"], one["client"]) == ("GET", "/healthz", 200, "127.0.0.1")
    assert (other["path"], other["status"]) == ("/nothing%0Ahere", 404)
    assert 0 <= one["milliseconds"] < 10_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", one["time"])
    assert "secret" not in written


@pytest.mark.parametrize("number", ["0", "65", "-1"])
def test_a_wrong_number_of_workers_is_one_line(program: Program, number: str) -> None:
    assert_one_line_error(program("app.py", "--workers", number), "--workers", number, "1 to 64")
