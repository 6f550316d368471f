"""How W&B is opened (online, offline, not at all) and how an offline run's file is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import wandb

from gpot.config import compose
from gpot.errors import BadConfig, BadInput, LoggerUnavailable
from gpot.tracking import wandb_logger
from gpot.tracking.offline_run import read_run, records
from gpot.tracking.run_logger import Description
from gpot.tracking.wandb_logger import resolve_mode, start


@pytest.mark.parametrize(
    ("mode", "environment", "key", "wanted"),
    [
        ("auto", None, False, "offline"),
        ("auto", None, True, "online"),
        ("auto", "offline", True, "offline"),
        ("auto", "online", True, "online"),
        ("offline", "online", True, "offline"),
        ("online", "offline", True, "online"),
    ],
)
def test_a_run_is_sent_only_where_there_is_a_key(
    monkeypatch: pytest.MonkeyPatch, mode: str, environment: str | None, key: bool, wanted: str
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if environment is not None:
        monkeypatch.setenv("WANDB_MODE", environment)
    monkeypatch.setattr(wandb_logger, "has_key", lambda: key)
    assert resolve_mode(mode) == wanted


def test_online_without_a_key_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_logger, "has_key", lambda: False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(BadConfig, match=r"API key.*wandb login.*logger\.mode=offline"):
        resolve_mode("online")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(BadConfig, match=r"WANDB_MODE.*'disabled'.*logger=none"):
        resolve_mode("auto")


def test_a_key_is_found_in_the_environment_or_the_netrc_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings:
        api_key: str | None = None
        base_url = "https://wandb.example.org"

    monkeypatch.setattr(wandb, "setup", lambda: type("Setup", (), {"settings": Settings}))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not wandb_logger.has_key()
    (tmp_path / "netrc").write_text("machine wandb.example.org login user password secret\n")
    assert wandb_logger.has_key()
    (tmp_path / "netrc").unlink()
    Settings.api_key = "secret"
    assert wandb_logger.has_key()


@pytest.mark.parametrize(("option", "named"), [("mode=sometimes", "auto, online, offline"), ("figures=-1", "pictures")])
def test_a_wrong_option_is_refused(option: str, named: str) -> None:
    with pytest.raises(BadConfig, match=rf"logger\.{option.split('=')[0]} .*{named}.*Type logger"):
        compose("train_gp", ["logger=wandb", f"logger.{option}"])


def test_a_refusal_of_wandb_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise wandb.errors.CommError("no connection")

    monkeypatch.setattr(wandb, "init", refuse)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    config = compose("train_gp", ["logger=wandb", "logger.mode=offline", f"paths.logs={tmp_path / 'logs'}"])
    with pytest.raises(LoggerUnavailable, match=r"no connection.*logger\.mode=offline"):
        start(config.logger, config.paths.logs, Description("gp", "a run", "gp/key", {}), None)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of several blocks, one record of which is longer than a block."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_DATA_DIR", str(folder))
        patch.setenv("WANDB_CACHE_DIR", str(folder))
        config = compose("train_gp", ["logger=wandb", "logger.mode=offline", f"paths.logs={folder / 'logs'}"])
        logger = start(
            config.logger, config.paths.logs, Description("gp", "a run", "gp/key", {"seed": 3}, group="sweep"), None
        )
        for step in range(300):
            logger.log_metrics({"val/cost": step / 7}, step=step)
        logger.run.log({"long": "x" * 100_000})
        logger.close()
    return logger.file


def test_a_file_is_read_across_blocks(file: Path) -> None:
    run = read_run(file.parent)
    assert file.stat().st_size > 4 * 32768
    assert run.history["val/cost"] == [(step, step / 7) for step in range(300)]
    assert run.history["long"][0][1] == "x" * 100_000
    assert (run.config["seed"], run.group, run.stage, run.exit_code) == (3, "sweep", "gp", 0)


def test_a_file_that_ends_within_a_record_is_read_to_there(file: Path, tmp_path: Path) -> None:
    whole = list(records(file))
    cut = tmp_path / "run-cut.wandb"
    for size in (0, 3, 7, 9, 40_000):
        cut.write_bytes(file.read_bytes()[:size])
        read = list(records(cut))
        assert read == whole[: len(read)] and (size < 10) == (not read)
    assert read_run(tmp_path).exit_code is None


def test_a_damaged_file_is_refused(file: Path, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    data[30_000] ^= 1
    (tmp_path / "run-a.wandb").write_bytes(data)
    with pytest.raises(BadInput, match="damaged"):
        read_run(tmp_path)
    (tmp_path / "run-a.wandb").write_bytes(b"something else entirely")
    with pytest.raises(BadInput, match="another kind of file"):
        read_run(tmp_path)
    with pytest.raises(BadInput, match="found 0"):
        read_run(tmp_path / "none")
