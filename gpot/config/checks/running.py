"""Rules of where and how a run goes: its logger, its device, its processes."""

from __future__ import annotations

import torch

from gpot.config.checks.subjects import Gps
from gpot.config.choices import LoggerKind, Strategy, WandbMode
from gpot.config.schema import DeviceConfig, FlowConfig, LoggerConfig, ReportConfig
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


ACCELERATORS = ("cpu", "gpu", "auto")


def device_known(device: DeviceConfig) -> None:
    if device.accelerator not in ACCELERATORS:
        meant = "gpu" if device.accelerator in ("cuda", "rocm") else "cpu"
        raise BadConfig(
            f"device.accelerator must be one of {', '.join(ACCELERATORS)}; found '{device.accelerator}'. "
            f"Type device={meant}."
        )
    devices = device.devices
    indices = isinstance(devices, list) and devices and all(type(i) is int and i >= 0 for i in devices)
    if not (indices and len(set(devices)) == len(devices)) and not (type(devices) is int and devices >= 1):
        raise BadConfig(
            f"device.devices must be a number of at least 1, or a list of different indices; found {devices}. Type "
            "device.devices=1, or device.devices=[0]."
        )
    several = len(devices) if isinstance(devices, list) else devices
    if device.strategy is Strategy.single and several > 1:
        raise BadConfig(
            f"device.strategy=single trains in one process, and device.devices={devices} asks for {several}. Type "
            f"device=ddp 'device.devices={devices}', or device.devices=1."
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


def jobs_fit(report: ReportConfig, device: DeviceConfig) -> None:
    if report.jobs < 1:
        raise BadConfig(
            f"report.jobs says how many processes make an item's results side by side; found {report.jobs}. Type "
            "report.jobs=1, or as many as there are cores."
        )
    if report.jobs > 1 and (device.kind == "gpu" or device.processes > 1):
        raise BadConfig(
            f"report.jobs={report.jobs} processes share the cores of a CPU, and device={device.name} is for one "
            "process after another. Type report.jobs=1, or device=cpu."
        )
