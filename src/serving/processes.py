"""The processes of the service: one, or several workers that share a port."""

import gc
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.signals import exit_immediately, signal_handler
from mnist_cnn.serving.service import METRICS_FOLDER
from mnist_cnn.serving.timeouts import TimeoutProtocol

MAX_WORKERS = 64
SHUTDOWN_TIMEOUT = 10  # seconds for accepted requests to be answered


class Server(uvicorn.Server):
    """Shuts down gracefully with exit code 0 at the first signal, at once at the second."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGINT and SIGTERM."""
        if self.should_exit:
            exit_immediately(sig, frame)
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        InputError: the port is in use or not permitted.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"--port is {port}; it must be 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise InputError(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port") from None


def configure(app: Callable[..., Any], **settings: Any) -> uvicorn.Config:
    """Configure uvicorn for an application."""
    return uvicorn.Config(
        app,
        log_level="error",  # not a line for each client that sends nonsense
        http=TimeoutProtocol,
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
        server_header=False,
        **settings,
    )


def prepare() -> None:
    """Prepare a process that has loaded what it serves."""
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    gc.freeze()  # long-lived objects need no further garbage collection, which would delay requests


def serve(app: FastAPI, listening: socket.socket, address: str) -> None:
    """Serve in this process until a signal; print the address."""
    prepare()
    server = Server(configure(app))
    with signal_handler(server.handle_exit):
        print(f"{address} (Ctrl-C stops)", flush=True)
        server.run(sockets=[listening])


def load_prepared(load: Callable[[], FastAPI]) -> FastAPI:
    """Build the application in a worker."""
    app = load()
    prepare()
    return app


def serve_in_workers(load: Callable[[], FastAPI], listening: socket.socket, address: str, workers: int) -> None:
    """Serve in several processes until a signal; one that dies is replaced. Print the address.

    Args:
        load: builds the application in each of them; can be pickled.
        listening: the socket that they share.
        address: its URL.
        workers: number of processes.
    """
    config = configure(partial(load_prepared, load), factory=True, workers=workers)
    with TemporaryDirectory(prefix="mnist-cnn-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder  # which the workers inherit
        supervisor = Multiprocess(config, sockets=[listening])
        print(f"{address} (Ctrl-C stops)", flush=True)
        supervisor.run()
