"""The README's commands, copied, in an empty directory of a fresh virtual environment that has only the wheel.

    python -m tests.door --wheel=dist/dreamjax-0.1.0-py3-none-any.whl

Trainings become their `:smoke` variant and long plays fewer games; what needs the source is left out. Each is said. Needs
access to PyPI, and no package but the standard library. `make door` builds the wheel and runs this.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
COLD, WARM = 40.0, 15.0  # seconds to the first picture of a dream, without and with compiled programs

MAZE = '''
"""What the README calls my_games: an environment of one's own."""

import gymnasium
import numpy as np


class Maze(gymnasium.Env):
    """A corridor of five cells; the exit is on the right."""

    observation_space = gymnasium.spaces.Box(0, 1, (5,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self.seen(), {}

    def step(self, action):
        self.place = max(0, self.place + (1 if action else -1))
        return self.seen(), float(self.place == 4), self.place == 4, False, {}

    def seen(self):
        return np.eye(5, dtype=np.float32)[self.place]


gymnasium.register("Maze-v0", Maze, max_episode_steps=50)
'''


def commands(readme: str) -> list[str]:
    """Lines of the code blocks without a language, without their comments."""
    blocks = [code for language, code in FENCE.findall(readme) if not language]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.partition(" #")[0].strip()]


def changed(command: str) -> tuple[str, str]:
    """The command as it runs here, and why it differs ("" where it does not); an empty command is left out."""
    if command.split()[0] in ("make", "source", "pip", "docker"):
        return "", "needs the source"
    if command.startswith("dreamjax play"):
        return f"{command} --delay=0", "without a terminal"
    if match := re.match(r"(dreamjax train .*--config=\w+)( .*)?$", command):
        return f"{match[1]}:smoke{match[2] or ''}", "shortened"
    if "--episodes=100" in command:
        return command.replace("--episodes=100", "--episodes=8"), "fewer games"
    if command.startswith("dreamjax evaluate"):
        return f"{command} --episodes=2", "fewer games"
    return command, ""


def until_picture(command: str, **options: object) -> float:
    """Seconds from the start of `dreamjax demo` to its first picture."""
    start = time.monotonic()
    with subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, text=True, **options) as process:  # type: ignore[call-overload]
        for line in process.stdout:
            if line.startswith("frame"):
                seconds = time.monotonic() - start
                process.stdout.read()
                break
    if process.returncode:
        raise SystemExit(f"{command}: exit code {process.returncode}")
    return seconds


def main() -> int:
    """Runs everything; returns 1 where a command fails or the first picture takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=ROOT / "build/door", help="made anew (default: build/door)")
    known = parser.parse_args()
    folder, wheel = known.folder.resolve(), known.wheel.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "empty"
    work.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        ROOT / "requirements.lock",
    ]
    subprocess.run([*install, wheel], check=True)

    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "JAX_COMPILATION_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= {"PATH": f"{folder / 'venv/bin'}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder / "cache")}
    options = {"cwd": work, "env": env}

    failed = []
    for name, limit in (("without", COLD), ("with", WARM)):
        seconds = until_picture("dreamjax demo --delay=0", **options)
        print(
            f"{seconds:6.1f} s  first picture of dreamjax demo, {name} compiled programs (limit {limit:.0f} s)",
            flush=True,
        )
        failed += [f"dreamjax demo takes {seconds:.1f} s"] if seconds > limit else []

    readme = (ROOT / "README.md").read_text()
    (work / "my_games.py").write_text(MAZE)
    for command in commands(readme):
        run, why = changed(command)
        if not run:
            print(f"       -  {command}  ({why})", flush=True)
            continue
        start = time.monotonic()
        result = subprocess.run(run, shell=True, capture_output=True, text=True, **options)  # type: ignore[call-overload]
        print(f"{time.monotonic() - start:6.1f} s  {run}{f'  ({why})' if why else ''}", flush=True)
        if result.returncode:
            print(result.stdout[-2000:] + result.stderr[-2000:], flush=True)
            failed.append(run)
    for code in [code for language, code in FENCE.findall(readme) if language == "python"]:
        start = time.monotonic()
        result = subprocess.run([python, "-c", code], **options)  # type: ignore[call-overload]
        print(f"{time.monotonic() - start:6.1f} s  the Python of the README", flush=True)
        failed += ["the Python of the README"] if result.returncode else []
    print("\n".join([*(f"FAILED: {name}" for name in failed)]) or "all of the README works")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
