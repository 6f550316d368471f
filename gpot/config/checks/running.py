"""Rules of where and how a run goes: its logger, its device, its processes."""

from __future__ import annotations

import torch

from gpot.config.checks.subjects import Gps
from gpot.config.choices import LoggerKind, WandbMode
from gpot.config.schema import DeviceConfig, FlowConfig, LoggerConfig
from gpot.errors import BadConfig


def logger_fits(logger: LoggerConfig) -> None:
    modes = [mode.value for mode in WandbMode]
    if logger.mode not in modes:
        raise BadConfig(
            f"logger.mode must be one of {', '.join(modes)}; found '{logger.mode}'. Type logger.mode=offline, "
            "or leave it out: auto sends a run where there is an API key."
        )
    if logger.figures < 0:
        raise BadConfig(
            f"logger.figures says how often in a run pictures are drawn, 0 for never; found {logger.figures}. "
            "Type logger.figures=5."
        )


def device_present(device: DeviceConfig) -> None:
    if device.kind == "gpu" and not torch.cuda.is_available():
        raise BadConfig(
            "device=gpu asks for a CUDA GPU, and torch finds none. Type device=cpu, or install a CUDA torch."
        )


def processes_fit(device: DeviceConfig, logger: LoggerConfig, flow: FlowConfig, gps: Gps) -> None:
    processes = device.processes
    if processes == 1:
        return
    if processes < 1:
        raise BadConfig(f"device.devices must be the number of processes, got {processes}. Set device.devices=2.")
    if logger.kind is not LoggerKind.none:
        raise BadConfig(
            f"logger={logger.name} follows a training in one process, and device.strategy=ddp has {processes}. "
            "Type logger=none, or another device."
        )
    have = torch.cuda.device_count()
    if device.kind == "gpu" and processes > have:
        raise BadConfig(
            f"device.strategy=ddp gives each of device.devices={processes} processes a GPU, and torch finds {have}. "
            f"Set device.devices={have}, or device.accelerator=cpu."
        )
    sizes = {"flow.batch_size": flow.batch_size}
    sizes |= {f"{name}.batch_size": gp.batch_size for name, gp in gps.items()}
    for name, size in sizes.items():
        if size % processes:
            raise BadConfig(
                f"device.strategy=ddp shares each batch among device.devices={processes} processes, and "
                f"{name}={size} is no multiple of that. Set {name}={max(1, size // processes) * processes}."
            )
