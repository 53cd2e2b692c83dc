"""A run's work directory: its configuration, and the lock that lets only one run write there.

Importing this module does not import JAX.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Literal

import filelock

from dreamjax import files
from dreamjax.config import Config, from_dict, merge, to_dict

CONFIG, LOCK, OWNER = "config.json", "lock", "lock.owner"
SHIPPED = Path(__file__).resolve().parents[2] / "shipped"  # agents that come with the package
RESUMABLE_FIELDS = ("total_steps", "log", "checkpoint", "eval", "parallel")  # may change when a run continues
Resume = Literal["auto", "never", "must"]


class UsageError(ValueError):
    """A request that cannot be met as it stands; the message says why and what to do."""


def shipped_names() -> list[str]:
    """Names of the agents that come with the package."""
    return sorted(file.parent.name for file in SHIPPED.glob(f"[a-z]*/{CONFIG}"))


def resolve(path: str | Path) -> Path:
    """The directory of a run as it is, or, where it holds none, the folder of the shipped agent of that name."""
    holds_run = (Path(path) / CONFIG).is_file()
    return SHIPPED / str(path) if not holds_run and str(path) in shipped_names() else Path(path)


def read_config(path: str | Path) -> Config:
    """The configuration of the run in this directory, or of the shipped agent of this name.

    A run of a version without ``env.layout`` has ``env.layout="legacy"``, so that its observations are read as when it was
    trained.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    file = resolve(path) / CONFIG
    try:
        return from_dict(merge({"env": {"layout": "legacy"}}, json.loads(file.read_text())))
    except FileNotFoundError:
        names = ", ".join(shipped_names()) or "none"
        raise UsageError(f"{path} holds no run: there is no {file}. Shipped agents: {names}") from None
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None


def as_begun(config: Config, path: str | Path) -> Config:
    """``config``, with ``env.layout="legacy"`` where the run in this directory has it and ``config`` has the default."""
    if config.env.layout != "auto" or not (Path(path) / CONFIG).is_file():
        return config
    if read_config(path).env.layout != "legacy":
        return config
    return dataclasses.replace(config, env=dataclasses.replace(config.env, layout="legacy"))


def differences(ours: Config, theirs: Config) -> list[str]:
    """Fields that differ and may not change when a run continues, each as ``name: theirs -> ours``."""
    new, old = _flat(to_dict(ours)), _flat(to_dict(theirs))
    return [
        f"{name}: {old.get(name, 'unset')!r} -> {new.get(name, 'unset')!r}"
        for name in sorted(new.keys() | old.keys())
        if new.get(name, "unset") != old.get(name, "unset") and name.split(".")[0] not in RESUMABLE_FIELDS
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return result


def check(path: str | Path, config: Config, resume: Resume) -> None:
    """Checks that a run of ``config`` may start or continue here; changes nothing.

    Raises:
        UsageError: the directory holds another configuration's run, or a run where ``resume="never"``, or none to
            continue where ``resume="must"``, or it is not a directory.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UsageError(f"--workdir={path} is not a directory")
    if not (path / CONFIG).exists():
        if resume == "must":
            raise UsageError(f"--resume=must, but {path} holds no run: there is no {path / CONFIG}")
        return
    if resume == "never":
        raise UsageError(f"--resume=never, but {path} holds a run already: choose another --workdir")
    changed = differences(as_begun(config, path), read_config(path))
    if changed:
        raise UsageError(
            f"{path} holds a run of another configuration ({'; '.join(changed)}): "
            f"choose another --workdir, or keep these fields. Only {', '.join(RESUMABLE_FIELDS)} may change"
        )


class Lock:
    """Locks a work directory for this process until ``release`` or the end of the process, however it ends.

    The operating system holds the lock, so a killed run leaves none behind; a second file names the owner for people.

    Raises:
        UsageError: another process holds it, or the directory cannot be made, written or locked.
    """

    def __init__(self, path: str | Path) -> None:
        self._owner = Path(path) / OWNER
        self._lock = filelock.FileLock(Path(path) / LOCK, blocking=False, thread_local=False)
        try:
            self._owner.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._owner.write_text(f"{os.getpid()}\n")
        except filelock.Timeout:
            raise UsageError(f"--workdir={path} is in use by another run (process {self._read_owner()})") from None
        except (OSError, NotImplementedError) as error:
            raise UsageError(f"--workdir={path} cannot be written: {error}") from None

    def _read_owner(self) -> str:
        try:
            return self._owner.read_text(errors="replace").strip() or "unknown"
        except OSError:
            return "unknown"

    def release(self) -> None:
        """Releases the lock."""
        self._owner.unlink(missing_ok=True)
        self._lock.release()


def write_config(path: str | Path, config: Config) -> None:
    """Writes ``config.json`` whole or not at all."""
    files.write_text(Path(path) / CONFIG, json.dumps(to_dict(config), indent=2) + "\n")
