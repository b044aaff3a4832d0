"""torch.distributed for data-parallel training under torchrun; in a single process every function does nothing."""

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
from mnist_cnn.common.names import printable

Object = TypeVar("Object")
BARRIER_SECONDS = 5  # timeout of the barrier that finds out which ranks are lost


def rank() -> int:
    """Return the rank of this process, 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def restart_count() -> int:
    """Return how many times torchrun has restarted the workers of this machine."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def was_restarted() -> bool:
    """Whether torchrun has restarted the workers of any machine."""
    return all_reduce_sum(torch.tensor([float(restart_count())])).item() > 0


@contextmanager
def process_group(timeout_seconds: int) -> Iterator[None]:
    """Join the process group under torchrun; only rank 0 prints to stdout meanwhile.

    The backend is NCCL (or the accelerator's own) for GPU tensors and gloo for CPU tensors.

    Args:
        timeout_seconds: of the rendezvous and of collectives.

    Raises:
        InputError: another process was lost, or this machine has fewer accelerators than processes.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    gloo = None
    try:
        init_process_group(timedelta(seconds=timeout_seconds))
        gloo = dist.new_group(backend="gloo")
        with Path(os.devnull).open("w") as devnull, redirect_stdout(sys.stdout if rank() == 0 else devnull):
            yield
    except RuntimeError as error:
        raise InputError(f"rank {rank()} stopped: {failure(gloo, error)}; see the output of the other ranks") from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def init_process_group(timeout: timedelta) -> None:
    """Initialize torch.distributed from torchrun's environment.

    On one machine torchrun keeps its rendezvous store across restarts. Each restart gets a prefix of its own, so that
    no process reads a stale address.
    """
    store, rank, world_size = next(rendezvous("env://", timeout=timeout))
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        store = PrefixStore(f"{restart_count()}", store)
    dist.init_process_group(select_backend(), store=store, rank=rank, world_size=world_size, timeout=timeout)


def select_backend() -> str:
    """Set this process's accelerator, if there is one, and return the matching backend.

    Raises:
        InputError: this machine has fewer accelerators than processes.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or not (backend := dist.get_default_backend_for_device(accelerator)):
        return "gloo"
    local_rank, count = int(os.environ["LOCAL_RANK"]), torch.accelerator.device_count()
    if local_rank >= count:
        raise InputError(f"this machine has {count} of {accelerator}; start torchrun with --nproc-per-node {count}")
    torch.accelerator.set_device_index(local_rank)
    return f"cpu:gloo,{accelerator.type}:{backend}"


def failure(group: object, error: RuntimeError) -> str:
    """Describe a failed collective: the ranks that miss a barrier of a group, if there is one, or else the error."""
    try:
        if isinstance(group, dist.ProcessGroup):
            dist.monitored_barrier(group, timedelta(seconds=BARRIER_SECONDS), wait_all_ranks=True)
    except RuntimeError as barrier_error:
        error = barrier_error
    lost = re.search(r"Ranks? ([\d, ]+) failed", str(error))
    return f"no answer from rank {lost[1].strip()}" if lost else printable(error, 300)


def wrap_ddp(model: nn.Module) -> nn.Module:
    """Average a model's gradients over all ranks, if there is a process group."""
    return DistributedDataParallel(model) if dist.is_initialized() else model


def shard(index: Tensor) -> tuple[Tensor, float]:
    """Take this rank's shard of a batch: every world_size-th image.

    Returns:
        The shard's indices, and the weight of its mean in the mean over ranks. If there are more ranks than images,
        some ranks get another rank's image with weight 0.
    """
    own = index[rank() :: world_size()]
    return (own, len(own) * world_size() / len(index)) if len(own) else (index[:1], 0.0)


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum float [n] over all ranks, in place, and return it."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def all_gather_rows(rows: Tensor, count: int) -> Tensor:
    """Gather the shards of `count` rows in their original order: float [N, C] to float [count, C]."""
    if not dist.is_initialized():
        return rows
    padded = nn.functional.pad(rows, (0, 0, 0, -(-count // world_size()) - len(rows)))
    shards = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(shards, padded)
    return torch.stack(shards, dim=1).flatten(0, 1)[:count]


def broadcast_object(value: Object) -> Object:
    """Return rank 0's value on every rank."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values)
    return values[0]
