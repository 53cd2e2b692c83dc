"""What the commands share: arguments, and errors as one message and an exit code.

Importing this module does not import JAX.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from dreamjax import configs
from dreamjax.config import Config, ConfigError, ParallelConfig, from_dict
from dreamjax.config.overrides import override
from dreamjax.training.runtime import compile_cache, memory
from dreamjax.training.storage.workdir import UsageError

OK, FAILED, USAGE = 0, 1, 2
PREFIX = "--config."
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
WORKDIR_HELP = "work directory of a run, or the name of a shipped agent"


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line and does not accept abbreviations.

    Args:
        command: name of the command. description: text of its help, usually the docstring of its module.
    """

    def __init__(self, command: str, description: str | None) -> None:
        super().__init__(
            prog=command,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message} (see --help)")


def boolean(text: str) -> bool:
    """Reads "true" or "false"; an argument type for argparse."""
    if text.lower() not in BOOLEANS:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return BOOLEANS[text.lower()]


def require_at_least(known: argparse.Namespace, **bounds: float) -> None:
    """Raises UsageError where a given argument is below its bound; arguments that are None are not checked."""
    for name, bound in bounds.items():
        value = getattr(known, name)
        if value is not None and value < bound:
            raise UsageError(f"--{name}={value} is not allowed: must be {bound} or more")


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
    """The configuration of ``NAME[:variant]`` or ``FILE[:variant]`` with ``--config.FIELD=VALUE`` overrides.

    Args:
        argument: see ``dreamjax.load_config``.
        overrides: values as text by dotted name; each is read as the type of its field.

    Raises:
        ConfigError: see ``dreamjax.load_config``; or an override has an unknown field or a wrong type.
    """
    return from_dict(override(configs.read(argument), overrides))


def prepare(config: ParallelConfig) -> None:
    """Makes the settings that JAX reads when it is imported."""
    memory.configure(config)
    compile_cache.enable()


def run(body: Callable[[], int]) -> int:
    """Runs a command; returns its exit code.

    A usage error becomes one message and code 2, an interruption one message and code 1, a warning one line. A reader of
    the output that has left (``dreamjax config | head``) ends the command with code 1 and no message.
    """
    shown = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        code = body()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return FAILED
    except (ConfigError, UsageError) as error:
        return _report(error, USAGE)
    except KeyboardInterrupt:
        return _report("interrupted", FAILED)
    finally:
        warnings.formatwarning = shown


def fail(error: object) -> int:
    """Prints the cause of a failure; returns its exit code."""
    return _report(error, FAILED)


def _report(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return code
