"""The entry point of the scripts: `hydra.main` with errors that say what to type next."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gpot.config import schema
from gpot.config.compose import known_keys, to_config
from gpot.config.quoting import advice
from gpot.errors import GpotError
from gpot.places import CONFIGS
from gpot.sweeps.jobs import Made, SweepFolder, conclude, in_sweep, run_job


def explain(error: BaseException) -> str:
    """One readable message: the error and its causes; for an unknown key, the keys that exist and the nearest one."""
    if isinstance(error, OverrideParseException):
        return advice(error)
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__
    text = "\n".join(dict.fromkeys(str(e).strip() for e in chain))
    match = re.search(r"Key '([^']+)' (?:is )?not in '(\w+)'", text)
    owner = getattr(schema, match.group(2), None) if match else None
    if match and dataclasses.is_dataclass(owner):
        text = re.sub(r"\nTo append to your config use .*", "", text)  # Hydra's advice; nothing would read the new key
        text += "\n" + known_keys(match.group(1), [f.name for f in dataclasses.fields(owner)])
    return f"{type(error).__name__}: {text}"


Function = Callable[[schema.Config], Sequence[Made] | None]


def entry(root: str) -> Callable[[Function], Callable[[], None]]:
    """Decorator: compose `configs/<root>.yaml` with the command line, check it, and hand the typed config to the
    function, which returns the artefacts that it was asked for.

    A user's mistake ends in one message and exit status 1, without a traceback. With `-m` each job leaves a record
    (`gpot.sweeps.jobs`) and a job that fails leaves the others alone; the exit status is 1 unless all are done.
    """

    def decorate(function: Function) -> Callable[[], None]:
        def run() -> None:
            schema.register()
            command = uuid.uuid4().hex
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra hands errors through, in place of its own printing

            @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=root)
            def hydra_main(tree: DictConfig) -> None:
                schema.register()  # once more: a job of a sweep may be in another process

                def config() -> schema.Config:
                    hydra_config = HydraConfig.get()
                    config = to_config(tree, hydra_config.overrides.task)
                    if hydra_config.mode is RunMode.MULTIRUN:
                        config.multirun = Path(hydra_config.sweep.dir).name
                    return config

                if in_sweep():
                    run_job(function, config, root, command, explain)
                else:
                    function(config())

            done = False
            try:
                hydra_main()
                done = conclude(command)
            except (GpotError, HydraException, OmegaConfBaseException) as error:
                print(explain(error), file=sys.stderr)
            except Exception as error:
                if SweepFolder.current is None:
                    raise
                # its jobs handle their own errors: a launcher lost a process, which took the rest of its batch along
                print(f"the sweep ended early: {explain(error)}", file=sys.stderr)
            finally:
                conclude(command)
            if not done:
                sys.exit(1)

        run.__doc__ = function.__doc__
        return run

    return decorate
