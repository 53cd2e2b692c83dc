"""DreamJAX: a functional training framework for Dreamer in JAX and Flax.

Importing it registers the environments with Gymnasium, by name, so that it stays cheap.
"""

import gymnasium

gymnasium.register(
    id="dreamjax/Tetris-v0",
    entry_point="dreamjax.envs.tetris.gym:TetrisEnv",
    vector_entry_point="dreamjax.envs.tetris.gym:TetrisVectorEnv",
)
