"""`import dreamjax as dj`: the names that scripts of users rely on."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import dreamjax as dj
from dreamjax.config import Config


def test_every_public_name_is_there_and_documented():
    for name in dj.__all__:
        assert getattr(dj, name) is not None
        assert name in dj.__doc__ or name == "__version__"
    assert set(dj.__all__) <= set(dir(dj))
    assert set(dj._SOURCES) == set(dj.__all__) - {"__version__"}
    assert dj.__version__ == version("dreamjax")
    with pytest.raises(AttributeError, match="no attribute 'make_agents'"):
        _ = dj.make_agents


def test_importing_the_package_imports_no_jax():
    code = "import sys, dreamjax; assert 'jax' not in sys.modules; dreamjax.Config; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("first", ["", "import jax; "])
def test_scripts_keep_compiled_programs(tmp_path, first):
    """In the user's cache folder, whether or not JAX was imported before."""
    code = f"{first}import dreamjax as dj; dj.make_agent; import jax; print(jax.config.jax_compilation_cache_dir)"
    env = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    env["XDG_CACHE_HOME"] = str(tmp_path)
    run = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == str(tmp_path / "dreamjax" / "jax")


def test_configurations_are_found_by_name_and_changed():
    config = dj.load_config("cartpole:smoke", {"seed": 3, "env": {"id": "Acrobot-v1"}})
    assert isinstance(config, Config)
    assert (config.seed, config.env.id, config.total_steps) == (3, "Acrobot-v1", 640)
    assert dj.load_config("cartpole").total_steps == 20_000
    with pytest.raises(dj.ConfigError, match="horzon"):
        dj.load_config("cartpole", {"horzon": 3})
    with pytest.raises(dj.ConfigError, match=r"no configuration cartpol: did you mean cartpole\?"):
        dj.load_config("cartpol")
    with pytest.raises(dj.ConfigError, match="no configuration nothing: there are cartpole, tetris_direct, "):
        dj.load_config("nothing:smoke")
    with pytest.raises(dj.ConfigError, match=r"no file no/such\.py"):
        dj.load_config("no/such.py")
    with pytest.raises(dj.ConfigError, match="the configuration that ships is named cartpole"):
        dj.load_config("elsewhere/cartpole.py")
