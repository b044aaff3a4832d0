"""What torch.distributed needs, and nothing in one process. Processes are started by torchrun."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from mnist_cnn.common.errors import InputError

Content = TypeVar("Content")
SECONDS_FOR_ROLL_CALL = 5


def rank() -> int:
    """Return the number of this process, 0 if it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Return how many processes train one model."""
    return dist.get_world_size() if dist.is_initialized() else 1


def restarts() -> int:
    """Return how often torchrun started this process again after a failure on its machine."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def restarted() -> bool:
    """Tell whether torchrun started these processes again after a failure, on whichever machine."""
    return total(torch.tensor([float(restarts())]))[0] > 0


@contextmanager
def joined(seconds: int) -> Iterator[None]:
    """Join the processes that torchrun started, if it did; only rank 0 prints results meanwhile.

    NCCL carries what is on GPUs, gloo what is on CPUs.

    Args:
        seconds: how long a process waits for the others before it gives up.

    Raises:
        InputError: another process was lost, or there are more processes here than GPUs.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    roll = None
    try:
        meet(timedelta(seconds=seconds))
        roll = dist.new_group(backend="gloo")
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(sys.stdout if rank() == 0 else nowhere):
            yield
    except RuntimeError as error:
        raise InputError(f"rank {rank()} stopped: {missing(roll, error)}; see what the others said") from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def meet(patience: timedelta) -> None:
    """Find the other processes.

    On one machine torchrun keeps its store of addresses when it starts them again: each time has a corner of its own
    there, lest a process reads where another was before.
    """
    store, number, count = next(rendezvous("env://", timeout=patience))
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        store = PrefixStore(f"{restarts()}", store)
    dist.init_process_group(pick_backend(), store=store, rank=number, world_size=count, timeout=patience)


def pick_backend() -> str:
    """Choose this process's accelerator, if there is one, and what carries tensors between processes.

    Raises:
        InputError: there are fewer accelerators than processes on this machine.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or not (backend := dist.get_default_backend_for_device(accelerator)):
        return "gloo"
    mine, here = int(os.environ["LOCAL_RANK"]), torch.accelerator.device_count()
    if mine >= here:
        raise InputError(f"this machine has {here} of {accelerator}; start torchrun with --nproc-per-node {here}")
    torch.accelerator.set_device_index(mine)
    return f"cpu:gloo,{accelerator.type}:{backend}"


def missing(roll: dist.ProcessGroup | None, error: RuntimeError) -> str:
    """Say which ranks do not answer any more, or else what went wrong."""
    try:
        if roll:
            dist.monitored_barrier(roll, timedelta(seconds=SECONDS_FOR_ROLL_CALL), wait_all_ranks=True)
    except RuntimeError as absent:
        error = absent
    names = re.search(r"Ranks? ([\d, ]+) failed", str(error))
    return f"no answer from rank {names[1].strip()}" if names else " ".join(str(error).split())[:300]


def replicate(model: nn.Module) -> nn.Module:
    """Let a model average its gradients over all processes, where there are several."""
    return DistributedDataParallel(model) if dist.is_initialized() else model


def share(index: Tensor) -> tuple[Tensor, float]:
    """Take this process's part of a step: every n-th image.

    Returns:
        The part, and the weight of its mean among the means of all parts. Where there are more processes than images,
        some get an image of another with weight 0.
    """
    mine = index[rank() :: size()]
    return (mine, len(mine) * size() / len(index)) if len(mine) else (index[:1], 0.0)


def total(numbers: Tensor) -> list[float]:
    """Add up numbers, float [n], over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(numbers)
    return numbers.tolist()


def gathered(rows: Tensor, count: int) -> Tensor:
    """Put `count` rows in order, of which each process brings every n-th: float [N, C] to float [count, C]."""
    if not dist.is_initialized():
        return rows
    padded = nn.functional.pad(rows, (0, 0, 0, -(-count // size()) - len(rows)))
    parts = [torch.empty_like(padded) for _ in range(size())]
    dist.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:count]


def broadcast_object(content: Content) -> Content:
    """Give every process what rank 0 has."""
    box = [content]
    if dist.is_initialized():
        dist.broadcast_object_list(box)
    return box[0]
