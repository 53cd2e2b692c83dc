"""CartPole from pure functions: agent, replay and update, without the trainer. `python -m experiments.train_cartpole`"""

import jax
import numpy as np

import dreamjax as dj


def train(config: dj.Config, *, num_steps: int) -> list[float]:
    """Trains for ``num_steps`` steps of every environment; returns the returns of the episodes in order."""
    env = dj.make_env(config.env, config.num_envs, seed=config.seed)
    agent = dj.make_agent(config, env.spec)
    replay = dj.make_replay(config.replay, env.spec, num_envs=config.num_envs, seed=config.seed)
    init_key, act_key = jax.random.split(jax.random.key(config.seed))
    state = jax.jit(agent.init)(init_key)
    policy = jax.jit(agent.policy, static_argnames="greedy")
    update = jax.jit(agent.update, donate_argnums=0)

    records, carry = env.reset(), agent.initial_carry(config.num_envs)
    returns: list[float] = []
    for step in range(num_steps):
        keys = jax.random.split(jax.random.fold_in(act_key, step), config.num_envs)
        carry, action, _ = policy(state.params, carry, records.obs, records.is_first, keys, greedy=False)
        action = np.where(records.is_last[:, None], 0, action)  # nothing is chosen at the end of an episode
        replay.add(records, action)
        _, records = env.step(action)
        returns += records.info["episode_return"][records.is_last].tolist()
        if step >= 2 * config.batch_length and step % 4 == 0:
            batch, _ = replay.sample(config.batch_size, config.batch_length)
            state, metrics, _ = update(state, batch)
            if step % 400 == 0:
                loss = float(metrics["train/world_model_loss"])
                print(f"step {step}: loss {loss:.3f}, mean return {np.mean(returns[-20:] or [0]):.1f}", flush=True)
    env.close()
    return returns


if __name__ == "__main__":
    train(dj.load_config("cartpole"), num_steps=5_000)
