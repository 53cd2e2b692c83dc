"""The commands of ``dreamjax``, one module each with ``main(arguments) -> exit code``."""

COMMANDS = {
    "demo": "show a dream of an agent that comes with the package",
    "train": "train an agent, or continue a run",
    "config": "list the fields of a configuration, or show what a run would use",
    "evaluate": "play whole episodes with a trained agent and report mean and standard error",
    "dream": "draw real observations next to the world model's predictions",
    "report": "write report.html of a run: curves, a dream, accuracy, configuration",
    "plot": "plot a metric of several runs, with mean and range over seeds",
    "scores": "compare scores with published ones: table, plot, interquartile mean with intervals",
    "play": "play Tetris in the terminal, or watch an agent play it",
    "export": "write the replay of a run as an NPZ file, or describe such a file",
    "ship": "make an agent that comes with the package out of a run",
    "check-env": "show how an environment is read, and what is wrong with it",
}
"""What each command does, by name; its module is named alike, with ``_`` for ``-``."""

ALIASES = {"replay": "export", "check_env": "check-env"}
"""Other names of commands."""
