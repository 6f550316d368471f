"""What stages share: the device that they run on, their random numbers, and which row a config is."""

from __future__ import annotations

import torch

from gpot.config.choices import PenaltyKind
from gpot.config.schema import DeviceConfig, GpConfig, PenaltyConfig, SpectralConfig
from gpot.paper.rows import Row


def device_of(device: DeviceConfig) -> torch.device:
    """Where evaluation runs: the first device of the `device` group."""
    if device.kind != "gpu":
        return torch.device("cpu")
    return torch.device("cuda", device.devices[0] if isinstance(device.devices, list) else 0)


def device_words(device: DeviceConfig) -> str:
    """Kind of device for the manifest: the GPU's name, or the number of threads; and the processes, if several."""
    gpu = device.kind == "gpu"
    words = torch.cuda.get_device_name(device_of(device)) if gpu else f"cpu, {torch.get_num_threads()} threads"
    return words if device.processes == 1 else f"{words}, {device.processes} processes"


def generator(seed: int, purpose: int) -> torch.Generator:
    """CPU generator of one purpose: streams of different purposes are independent, and fixed by the seed."""
    return torch.Generator().manual_seed(seed * 1000 + purpose)


_ROW_OF_PENALTY = {PenaltyKind.none: Row.gp, PenaltyKind.euler: Row.gp_euler, PenaltyKind.kinetic: Row.gp_kinetic}


def gp_row(gp: GpConfig, penalty: PenaltyConfig) -> Row:
    """The row of a GP flow that is trained with a penalty."""
    return Row.gp_spectral if isinstance(gp.family, SpectralConfig) else _ROW_OF_PENALTY[penalty.acting]
