"""What the commands share: configuration files, typed overrides, errors as one message and an exit code.

Importing this module does not import JAX.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from dreamjax.config import Config, ConfigError, from_dict
from dreamjax.config.overrides import override
from dreamjax.training.storage.workdir import UsageError

OK, FAILED, USAGE = 0, 1, 2
PREFIX = "--config."
CACHE_BYTES = 2 << 30  # of compiled programs; an update of size 1m takes about 1 MiB


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line and never guesses abbreviations."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message} (see --help)")


def boolean(text: str) -> bool:
    """ "true" or "false", for argparse."""
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def split_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """``--config.a.b=value`` or ``--config.a.b value`` arguments as ``{"a.b": "value"}``; later ones win.

    Raises:
        UsageError: on any other argument, or one without a value.
    """
    overrides: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith(PREFIX):
            raise UsageError(f"unknown argument {argument} (see --help)")
        name, equals, value = argument[len(PREFIX) :].partition("=")
        if not equals:
            following = next(rest, None)
            if following is None or following.startswith("--"):
                raise UsageError(f"{argument} needs a value: {argument}=VALUE")
            value = following
        overrides[name] = value
    return overrides


def load_config(argument: str, overrides: Mapping[str, str]) -> Config:
    """The configuration of ``FILE[:variant]`` with overrides.

    Args:
        argument: path of a Python file with ``get_config(variant: str = "") -> ml_collections.ConfigDict``.
        overrides: values as text by dotted name; each is read as the type of its field.

    Raises:
        UsageError: no such file, no ``get_config`` in it, or it fails.
        ConfigError: unknown field, wrong type or impossible value.
    """
    path, variant = split_variant(argument)
    if not path.is_file():
        raise UsageError(f"--config={argument}: there is no file {path}")
    spec = importlib.util.spec_from_file_location("dreamjax_config_file", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--config={argument}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise UsageError(f'--config={argument}: {path} has no get_config(variant="")')
        values = module.get_config(variant) if variant else module.get_config()
    except (ConfigError, UsageError):
        raise
    except Exception as error:
        raise UsageError(f"--config={argument}: {path} fails: {type(error).__name__}: {error}") from error
    values = values.to_dict() if hasattr(values, "to_dict") else values
    if not isinstance(values, Mapping):
        raise UsageError(f"--config={argument}: get_config must return a ConfigDict, not {type(values).__name__}")
    return from_dict(override(values, overrides))


def split_variant(argument: str) -> tuple[Path, str]:
    """``FILE[:variant]`` as path and variant."""
    path, colon, variant = argument.rpartition(":")
    return (Path(path), variant) if colon else (Path(argument), "")


def cache_compilations() -> None:
    """Keeps compiled programs in the user's cache folder between runs; settings in the environment stand.

    Must run before JAX is imported. The folder that is ours is held below ``CACHE_BYTES``.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = home / "dreamjax" / "jax"
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        drop_oldest(folder, CACHE_BYTES)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def drop_oldest(folder: Path, limit: int) -> None:
    """Removes the files written longest ago until the rest hold at most ``limit`` bytes.

    JAX's own bound needs a further package. What another process removes or still writes is passed over.
    """
    found = []
    for file in folder.glob("*") if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            found.append((file.stat().st_mtime, file.stat().st_size, file))
    kept = 0
    for _, size, file in sorted(found, reverse=True):
        kept += size
        if kept > limit:
            with contextlib.suppress(OSError):
                file.unlink()


def run(body: Callable[[], int]) -> int:
    """Runs a command: usage errors become one message and exit code 2, failures of a run one message and code 1."""
    try:
        return body()
    except (ConfigError, UsageError) as error:
        return _tell(error, USAGE)
    except KeyboardInterrupt:
        return _tell("interrupted before a checkpoint could be written", FAILED)


def fail(error: object) -> int:
    """Prints the cause of a failure; returns its exit code."""
    return _tell(error, FAILED)


def _tell(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return code
