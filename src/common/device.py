"""The device of computations and their precision."""

import os
from typing import Literal

import torch

from mnist_cnn.common.errors import InputError

Precision = Literal["auto", "float32", "bfloat16"]


def pick_device(name: str) -> torch.device:
    """Return the device "auto", "cpu", "cuda", "cuda:1", "mps", ... after checking that it works.

    "auto" is the accelerator (CUDA, MPS, XPU) if there is one, else the CPU. Under torchrun it is the accelerator
    of the process's local rank.

    Raises:
        InputError: this machine has no such device.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        if accelerator and "LOCAL_RANK" in os.environ:
            return torch.device(accelerator.type, int(os.environ["LOCAL_RANK"]) % torch.accelerator.device_count())
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        available = "cpu" if accelerator is None else f"cpu, {accelerator}"
        raise InputError(f"device {name!r} is not on this machine (it has: {available}); leave out --device") from None
    return device


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype of matrix multiplications in training.

    "auto" is bfloat16 where the hardware multiplies it natively: a CPU with AVX512-BF16 or AMX, a CUDA device of
    compute capability 8.0 or higher. Emulated bfloat16 would be slower than float32.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        cpu = torch.cpu.get_capabilities() if device.type == "cpu" else {}
        native = bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32
