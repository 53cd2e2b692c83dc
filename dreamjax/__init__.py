"""DreamJAX: a functional training framework for Dreamer in JAX and Flax.

Train an agent, continue its run, and play with it:

    import dreamjax as dj

    config = dj.load_config("cartpole", {"seed": 1})  # a configuration that ships, or the path of a file
    trainer = dj.Trainer(config, "runs/cartpole")
    trainer.run()
    trainer.close()

    agent = dj.load("runs/cartpole")  # or the name of a shipped agent: dj.load("tetris_locked")
    action, carry = agent.act(obs, None, is_first=True, key=jax.random.key(0))

Or write the loop yourself from the functions that the trainer uses:

    env = dj.make_env(config.env, config.num_envs, seed=0)
    agent = dj.make_agent(config, env.spec)
    replay = dj.make_replay(config.replay, env.spec, num_envs=config.num_envs, seed=0)
    state = agent.init(jax.random.key(0))
    state, metrics, outs = agent.update(state, replay.sample(config.batch_size, config.batch_length)[0])

``experiments/train_cartpole.py`` of the source code does so in 40 lines. The same from a shell: ``dreamjax --help``.

The functions keep compiled programs in ``~/.cache/dreamjax/jax``; ``JAX_COMPILATION_CACHE_DIR`` names another folder.
Importing this package registers its environments with Gymnasium (``dreamjax/Tetris-v0``) and imports neither JAX nor what
is listed below, which is imported when it is first used.

Configuration
    Config          a run's configuration: frozen dataclasses that reject unknown names and impossible values
    ConfigError     what they raise
    from_dict       a Config from nested dictionaries
    load_config     a Config from the name or path of a configuration, with its variants
Training
    Trainer         a run of a configuration in a work directory: collects, learns, evaluates, saves, resumes
    make_env        environments side by side, as streams of records
    make_agent      the agent: pure functions that act and learn
    make_replay     the replay buffer of a configuration
Using
    load            a trained agent, from a work directory or by the name of a shipped agent
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from dreamjax.agents.agent import make_agent
    from dreamjax.config import Config, ConfigError, from_dict
    from dreamjax.configs import load_config
    from dreamjax.envs.make import make_env
    from dreamjax.training.storage.load import load_player as load
    from dreamjax.training.storage.recording import make_replay
    from dreamjax.training.trainer import Trainer

    __version__: str

__all__ = [
    "Config", "ConfigError", "Trainer", "__version__", "from_dict", "load", "load_config", "make_agent", "make_env",
    "make_replay",
]  # fmt: skip

# Where each public name comes from: module and name in it.
_SOURCES = {
    "Config": ("dreamjax.config", "Config"),
    "ConfigError": ("dreamjax.config", "ConfigError"),
    "Trainer": ("dreamjax.training.trainer", "Trainer"),
    "from_dict": ("dreamjax.config", "from_dict"),
    "load": ("dreamjax.training.storage.load", "load_player"),
    "load_config": ("dreamjax.configs", "load_config"),
    "make_agent": ("dreamjax.agents.agent", "make_agent"),
    "make_env": ("dreamjax.envs.make", "make_env"),
    "make_replay": ("dreamjax.training.storage.recording", "make_replay"),
}

gymnasium.register(
    id="dreamjax/Tetris-v0",
    entry_point="dreamjax.envs.tetris.gym:TetrisEnv",
    vector_entry_point="dreamjax.envs.tetris.gym:TetrisVectorEnv",
)


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("dreamjax")
    if name not in _SOURCES:
        raise AttributeError(f"module 'dreamjax' has no attribute {name!r}")
    module, attribute = _SOURCES[name]
    if not module.startswith("dreamjax.config"):
        # What follows compiles; a script's next start reads the programs from the user's cache folder.
        importlib.import_module("dreamjax.training.runtime.compile_cache").enable()
    value = globals()[name] = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
