"""The entry point of the scripts: `hydra.main` with errors that say what to type next."""

from __future__ import annotations

import dataclasses
import errno
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
from gpot.config.advice import options
from gpot.config.compose import known_keys, to_config
from gpot.config.options import options_of
from gpot.config.quoting import advice
from gpot.errors import GpotError
from gpot.memory import keep_freed_memory
from gpot.places import CONFIGS
from gpot.sweeps.jobs import Function, SweepFolder, conclude, folder_name, in_sweep, run_job

_RESOLVED = re.compile(r"(\w+) raised while resolving interpolation: (.*?)\s*(?=\n\s+full_key:|$)", re.DOTALL)
_NO_OPTION = re.compile(r"missing mandatory value: \w+\n\s+full_key: (\w+)\.")


def explain(error: BaseException) -> str:
    """One readable message: gpot's own error where there is one, else the error and its causes; for an unknown key, the
    keys that exist and the nearest one."""
    if isinstance(error, OverrideParseException):
        return advice(error)
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__
    if own := next((e for e in chain if isinstance(e, GpotError)), None):  # also below one of Hydra's
        lines = [str(own), *dict.fromkeys(line for e in chain if (line := options(e)))]
        return f"{type(own).__name__}: " + "\n".join(lines)
    text = "\n".join(dict.fromkeys(str(e).strip() for e in chain))
    if resolved := _RESOLVED.search(text):  # an error of gpot, of which OmegaConf hands on the words alone
        return f"{resolved.group(1)}: {resolved.group(2)}"
    if (missing := _NO_OPTION.search(text)) and (known := options_of(missing.group(1))):
        return f"The group {missing.group(1)} has no option. Type {missing.group(1)}=OPTION, one of {', '.join(known)}."
    match = re.search(r"Key '([^']+)' (?:is )?not in '(\w+)'", text)
    owner = getattr(schema, match.group(2), None) if match else None
    if match and dataclasses.is_dataclass(owner):
        text = re.sub(r"\nTo append to your config use .*", "", text)  # Hydra's advice; nothing would read the new key
        text += "\n" + known_keys(match.group(1), [f.name for f in dataclasses.fields(owner)])
    return f"{type(error).__name__}: {text}"


_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS, errno.ESTALE, errno.EMFILE)
_IN_WORDS = re.compile(r"\(os error (\d+)\)|\d+ requested and \d+ written")  # of safetensors, and of NumPy


def storage_trouble(error: BaseException) -> str | None:
    """What a disk, or a right to it, has to do with an error, and what to type next; None for another error."""
    troubles: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(troubles) < 10:
        if isinstance(cause, OSError) and cause.errno in _STORAGE:
            places = [str(name) for name in (cause.filename, cause.filename2) if name is not None]
            troubles.append(" to ".join(places) + ": " * bool(places) + os.strerror(cause.errno))
        elif match := _IN_WORDS.search(str(cause)):
            number = match.group(1)
            troubles.append(os.strerror(int(number)) if number else os.strerror(errno.ENOSPC))
        cause = cause.__cause__ or cause.__context__
    if not troubles:
        return None
    return (
        f"a file could not be written or read ({troubles[-1]}). Make room, or check the rights to the folder, and type "
        "the same command again: what is finished is found, and a training goes on from its last checkpoint."
    )


_NO_NAME_OF_A_FILE = "Config group override must be a string or a list"


def no_option(arguments: Sequence[str], error: Exception) -> str | None:
    """Which of these arguments is no option of its group, as `gp=3`, or names none, as `=3`, and what to type: Hydra
    says neither. None where the error is not of that."""
    of_a_group = str(error).startswith(_NO_NAME_OF_A_FILE)
    for typed in arguments:
        name, equals, value = typed.partition("=")
        group = name.lstrip("+~").partition("@")[0].strip()
        if equals and not group:
            return f"An option was to be set by '{typed}', which names none. Type NAME=VALUE."
        if of_a_group and group and (known := options_of(group)) and value not in known:
            return f"The group {group} has no option '{value}'. Type {group}=OPTION, one of {', '.join(known)}."
    if not of_a_group:
        return None
    return f"The option of a group is the name of one of its files, and got {' '.join(arguments)}. Type gp=ridge, say."


def ends_well(command: Callable[[], bool]) -> bool:
    """Call a command: what it returns, or False after one message where a user's mistake or a disk has ended it."""
    try:
        return command()
    except (GpotError, HydraException, OmegaConfBaseException) as error:
        print(explain(error), file=sys.stderr)
    except Exception as error:
        if said := no_option(sys.argv[1:], error):
            print(said, file=sys.stderr)
        elif trouble := storage_trouble(error):
            print(trouble, file=sys.stderr)
        elif SweepFolder.current is None:
            raise
        else:
            # its jobs handle their own errors: a launcher lost a process, which took the rest of its batch along
            print(f"the sweep ended early: {explain(error)}", file=sys.stderr)
    return False


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
                keep_freed_memory()

                def config() -> schema.Config:
                    hydra_config = HydraConfig.get()
                    config = to_config(tree, root, hydra_config.overrides.task)
                    if hydra_config.mode is RunMode.MULTIRUN:
                        config.multirun = Path(hydra_config.sweep.dir).name
                        # tables and figures of one job would replace those of another
                        config.paths.report = str(Path(config.paths.report) / folder_name(config.typed))
                    return config

                if in_sweep():
                    run_job(function, config, root, command, explain)
                else:
                    function(config())

            def whole() -> bool:
                hydra_main()
                return conclude(command)

            try:
                done = ends_well(whole)
            finally:
                conclude(command)
            if not done:
                sys.exit(1)

        run.__doc__ = function.__doc__
        return run

    return decorate
