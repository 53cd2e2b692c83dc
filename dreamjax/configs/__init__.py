"""The configurations that ship with the package, one a file, and how a configuration is found by its name or path.

A configuration file holds ``get_config(variant: str = "") -> ml_collections.ConfigDict``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dreamjax.config import Config, ConfigError, from_dict, legacy

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of the configurations that ship with the package."""
    return sorted(file.stem for file in FOLDER.glob("[a-z]*.py"))


def load_config(source: str, changes: Mapping[str, Any] | None = None) -> Config:
    """The configuration of ``NAME[:variant]`` or ``FILE[:variant]``.

    Args:
        source: the name of a configuration that ships with the package ("cartpole", "tetris_direct:smoke"), or the path of
            a Python file with ``get_config(variant: str = "") -> ConfigDict``. Variants are joined by commas.
        changes: fields to set, as nested dictionaries: ``{"seed": 1, "env": {"id": "Acrobot-v1"}}``.

    Raises:
        ConfigError: there is no such configuration, its file fails, or it has an unknown field, a wrong type or an
            impossible value; the message names it.
    """
    return from_dict(legacy.merge_layers(read(source), changes or {}))


def read(source: str) -> dict[str, Any]:
    """The fields that ``NAME[:variant]`` or ``FILE[:variant]`` sets, as nested dictionaries; see ``load_config``.

    Raises:
        ConfigError: there is no such configuration, or its file fails.
    """
    name, variant = split_variant(source)
    try:
        module = importlib.import_module(f"{__name__}.{name}") if name in names() else _import_file(Path(name))
        if not callable(getattr(module, "get_config", None)):
            raise ConfigError(f'configuration {source}: {name} has no get_config(variant="")')
        values = module.get_config(variant) if variant else module.get_config()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"configuration {source}: {name} fails: {type(error).__name__}: {error}") from error
    values = values.to_dict() if hasattr(values, "to_dict") else values
    if not isinstance(values, Mapping):
        raise ConfigError(f"configuration {source}: get_config must return a ConfigDict, not {type(values).__name__}")
    return dict(values)


def split_variant(source: str) -> tuple[str, str]:
    """``NAME[:variant]`` or ``FILE[:variant]`` as the name or path and the variant ("" without one)."""
    name, colon, variant = source.rpartition(":")
    return (name, variant) if colon else (source, "")


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        if path.suffix == ".py" and path.stem in names():
            raise ConfigError(f"there is no file {path}; the configuration that ships is named {path.stem}")
        if path.suffix == ".py" or len(path.parts) > 1:
            raise ConfigError(f"there is no file {path}")
        near = difflib.get_close_matches(str(path), names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}; a file is named by its path"
        raise ConfigError(f"there is no configuration {path}: {hint}")
    spec = importlib.util.spec_from_file_location("dreamjax_config_file", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
