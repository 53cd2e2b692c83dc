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
# # Train CartPole from pure functions
#
# Environment, replay and agent are separate. The agent is a bundle of pure functions, and `state` is all that learning
# changes. In Colab, install first: `!pip install` with the path or address of the package.

# %%
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

import dreamjax as dj

STEPS = int(os.environ.get("DREAMJAX_STEPS", 5_000))  # of each environment; the tests take fewer
config = dj.load_config(os.environ.get("DREAMJAX_CONFIG", "cartpole"))

# %% [markdown]
# ## The parts

# %%
env = dj.make_env(config.env, config.num_envs, seed=config.seed)
agent = dj.make_agent(config, env.spec)
replay = dj.make_replay(config.replay, env.spec, num_envs=config.num_envs, seed=config.seed)
init_key, act_key = jax.random.split(jax.random.key(config.seed))
state = jax.jit(agent.init)(init_key)
policy = jax.jit(agent.policy, static_argnames="greedy")
update = jax.jit(agent.update, donate_argnums=0)
sum(leaf.size for leaf in jax.tree.leaves(state.params))  # numbers in all parameters

# %% [markdown]
# ## The loop
#
# Act, store, step; every fourth step one update of world model, actor and critic.

# %%
records, carry = env.reset(), agent.initial_carry(config.num_envs)
ends, returns, updates, losses = [], [], [], []
for step in range(STEPS):
    keys = jax.random.split(jax.random.fold_in(act_key, step), config.num_envs)
    carry, action, _ = policy(state.params, carry, records.obs, records.is_first, keys, greedy=False)
    action = np.where(records.is_last[:, None], 0, action)  # nothing is chosen at the end of an episode
    replay.add(records, action)
    _, records = env.step(action)
    ended = records.info["episode_return"][records.is_last].tolist()
    ends, returns = ends + [step] * len(ended), returns + ended
    if step >= 2 * config.batch_length and step % 4 == 0:
        batch, _ = replay.sample(config.batch_size, config.batch_length)
        state, metrics, _ = update(state, batch)
        if step % 100 == 0:
            updates.append(step)
            losses.append(float(metrics["train/world_model_loss"]))
env.close()
print(f"{len(returns)} episodes, the last 20 with a mean return of {np.mean(returns[-20:]):.1f}")

# %% [markdown]
# ## The curves

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.plot(ends, returns, ".", markersize=3)
left.set(title="return of an episode", xlabel="steps of each environment")
right.plot(updates, losses, marker="o", markersize=3)
right.set(title="world-model loss", xlabel="steps of each environment")
plt.show()
