"""What tests of several rooms share.

``xla``: how programs are compiled quickly. ``configs``: the smallest configuration. ``batches``: specs and random windows.
``parameters``: random parameters without an initializer. ``networks``: the networks of a configuration. ``replay``: small
buffers with random records. ``fakes``: an environment, a replay and an agent whose every number can be predicted.
``scripted``: Gymnasium environments that follow a script, or fail. ``tetris``: games that begin as a test wants.
``places``: a world model whose states are numbered places. ``grids``: grid world models. ``runs``: what two runs must have
in common. ``jaxprs`` and ``fingerprints``: what traced programs consist of.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository
