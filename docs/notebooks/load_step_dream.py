# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Load, step, dream
#
# An agent that comes with the package plays Tetris with eight buttons. Then its world model sees five steps of the game
# and dreams the rest. In Colab, install first: `!pip install` with the path or address of the package.

# %%
import os

import gymnasium
import jax
import matplotlib.pyplot as plt
import numpy as np

import dreamjax as dj

STEPS = int(os.environ.get("DREAMJAX_STEPS", 80))  # of the game; the tests take fewer

# %% [markdown]
# ## Load
#
# `dj.load` takes the name of a shipped agent or the work directory of a run.

# %%
agent = dj.load("tetris_direct")
env = gymnasium.make("dreamjax/Tetris-v0", action_mode="direct")
{name: space.shape for name, space in env.observation_space.items()}

# %% [markdown]
# ## Step
#
# The agent gives an action of the environment, and a carry: its memory.

# %%
obs, _ = env.reset(seed=2)
carry, seen, actions = None, [], []
for step in range(STEPS):
    action, carry = agent.act(obs, carry, is_first=step == 0, key=jax.random.key(step), greedy=False)
    seen.append(obs)
    actions.append(action)
    obs, reward, terminated, truncated, _ = env.step(action)
    if terminated or truncated:
        break
print(f"{len(seen)} steps, {sum(int(action.any()) for action in actions)} with a button")

# %% [markdown]
# ## Dream
#
# A batch holds replayed windows `[B, T]`: here one, the last steps of the game. `open_loop` filters the first `CONTEXT`
# steps and predicts the rest from the actions. Which piece comes next is chance: from there on the dream is another game.

# %%
from dreamjax.agents.agent import dummy_batch  # noqa: E402

CONTEXT, LENGTH = 5, 25
start = max(0, len(seen) - LENGTH)
seen_last, actions_last = seen[start:], np.stack(actions[start:]).astype(np.int32)
batch = dummy_batch(agent.agent.spec, batch_size=1, length=len(seen_last))
batch = batch.replace(
    obs={name: np.stack([one[name] for one in seen_last]).astype(x.dtype)[None] for name, x in batch.obs.items()},
    action=actions_last[None],
    is_first=np.arange(start, len(seen))[None] == 0,
    prev_action=np.asarray(actions[start - 1], np.int32)[None] if start else batch.prev_action,
)
open_loop = jax.jit(agent.agent.open_loop, static_argnames="context")
result = jax.device_get(open_loop(agent.params, batch, jax.random.key(0), context=CONTEXT))
real, dream = result["real"]["board"][0], np.rint(result["dream"]["board"][0])
right = (real == dream).all((1, 2, 3))[CONTEXT:].tolist()
exact = right.index(False) if False in right else len(right)
print(f"the first {exact} of {len(right)} dreamed boards are right in every cell")

# %% [markdown]
# The board above, its dream below: locked cells and the falling piece in two colors.

# %%
shown = np.unique(np.linspace(CONTEXT - 1, len(real) - 1, 8).round().astype(int))
figure, axes = plt.subplots(2, len(shown), figsize=(1.2 * len(shown), 5), squeeze=False)
for column, t in enumerate(shown):
    for row, boards in enumerate((real, dream)):
        board = boards[t]
        axes[row, column].imshow(board[0] + 2 * board[-1], vmin=0, vmax=3, cmap="magma")
        axes[row, column].set(xticks=[], yticks=[])
    axes[0, column].set_title("seen" if t < CONTEXT else f"+{t + 1 - CONTEXT}")
axes[0, 0].set_ylabel("game")
axes[1, 0].set_ylabel("dream")
plt.show()
