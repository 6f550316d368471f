"""One training in several processes of this machine: each has a share of every batch, and they average their gradients.

Only the training itself runs in several processes. The stage around it, its lock and its artefact stay in the one that
was started, so nothing is written twice. A process that fails leaves its error, and the callbacks' states, in a file:
the caller sees the same exception as after a training in one process.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from gpot import errors
from gpot.errors import GpotError

Train = Callable[[L.LightningModule, Sequence[Callback]], Mapping[str, float]]


def train_in_processes(
    train: Train, module: L.LightningModule, callbacks: Sequence[Callback], processes: int
) -> dict[str, float]:
    """`train(module, callbacks)` in every process; then module and callbacks are as the first process left them.

    Arguments:
        train: runs a Lightning trainer of that many devices with DDPStrategy; its closure is sent to the processes.
        module, callbacks: what it trains; callbacks may refer to parts of the module.
    Returns: what `train` returned in the first process.
    Raises: the GpotError that a process raised, with the epoch in its attribute `epoch`.
    """
    threads = max(1, torch.get_num_threads() // processes)
    # by value: torch would move parameters to memory that all processes share, and each would overwrite the others'
    job = cloudpickle.dumps((train, module, list(callbacks)))
    with tempfile.TemporaryDirectory(prefix="gpot-") as folder:
        try:
            spawn(_work, (processes, _free_port(), threads, job, folder), nprocs=processes)
        except (ProcessRaisedException, ProcessExitedException):
            failed = [torch.load(path, weights_only=True) for path in sorted(Path(folder).glob("error-*.pt"))]
            if not failed:
                raise
            _restore(callbacks, failed[0]["callbacks"])
            raise _error(failed[0]) from None
        result: dict[str, Any] = torch.load(Path(folder) / "result.pt", weights_only=True)
    module.load_state_dict(result["module"])
    _restore(callbacks, result["callbacks"])
    return dict(result["metrics"])


def _work(rank: int, processes: int, port: int, threads: int, job: bytes, folder: str) -> None:
    """What one process does. It finds the others as those of a launcher outside of Lightning do, by the environment."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes),
        "NODE_RANK": "0", "LOCAL_RANK": str(rank),
    }  # fmt: skip
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # sent when the caller has died: end, also amid an exchange
    level = logging.INFO if rank == 0 else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    train, module, callbacks = cloudpickle.loads(job)
    try:
        metrics = train(module, callbacks)
    except GpotError as error:
        message = {"type": type(error).__name__, "text": str(error), "epoch": module.current_epoch}
        _save(message | {"callbacks": _states(callbacks)}, Path(folder) / f"error-{rank}.pt")
        raise
    if rank == 0:
        state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
        result = {"module": state, "callbacks": _states(callbacks), "metrics": dict(metrics)}
        _save(result, Path(folder) / "result.pt")


def _save(content: dict[str, Any], path: Path) -> None:
    """Complete or absent: the caller ends the other processes as soon as one has failed."""
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def _states(callbacks: Sequence[Callback]) -> list[dict[str, Any]]:
    return [callback.state_dict() for callback in callbacks]


def _restore(callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]) -> None:
    for callback, state in zip(callbacks, states, strict=True):
        callback.load_state_dict(state)


def _error(message: Mapping[str, Any]) -> GpotError:
    error: GpotError = getattr(errors, message["type"], GpotError)(message["text"])
    error.epoch = message["epoch"]  # type: ignore[attr-defined]
    return error


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
