"""The losses of an update, transcribed independently: NumPy in float64, loops over time, nothing kept for later.

Random numbers are drawn by JAX from the keys that the update folds, so that both sample the same latents and actions. The
last section is the block GRU in JAX, for its gradients.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.nets import Layer

# Networks.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))


def dense(params, x):
    return x @ params["dense"]["kernel"] + params["dense"].get("bias", 0)


def rms_silu(params, x):
    x = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-4) * params["RMSNorm_0"]["scale"]
    return x * sigmoid(x)


def layer(params, x):
    return rms_silu(params["NormAct_0"], dense(params["Dense_0"], x))


def mlp(params, x):
    """Hidden layers, then the output where there is one."""
    for name in sorted(name for name in params if name.startswith("Layer_")):
        x = layer(params[name], x)
    return dense(params["Dense_0"], x) if "Dense_0" in params else x


def transition(params, config, deter, stoch, action):
    """The block GRU: the next ``deter``, one block after the other."""
    action = action / np.maximum(1, np.abs(action))
    inputs = [
        layer(params["in_deter"], deter),
        layer(params["in_stoch"], stoch.reshape(len(stoch), -1)),
        layer(params["in_action"], action),
    ]
    blocks = np.split(deter, config.blocks, -1)
    kernel, bias = params["hidden"]["kernel"], params["hidden"]["bias"]
    hidden = [np.concatenate([block, *inputs], -1) @ kernel[g] + bias[g] for g, block in enumerate(blocks)]
    hidden = np.split(rms_silu(params["hidden_norm"], np.concatenate(hidden, -1)), config.blocks, -1)
    following = []
    for g, block in enumerate(blocks):
        reset, candidate, update = np.split(
            hidden[g] @ params["gates"]["kernel"][g] + params["gates"]["bias"][g], 3, -1
        )
        update = sigmoid(update - 1)
        following.append(update * np.tanh(sigmoid(reset) * candidate) + (1 - update) * block)
    return np.concatenate(following, -1)


def mixed(raw, config):
    """Log-probabilities with the uniform share of the latents' ``[N, S * K]`` raw outputs: ``[N, S, K]``."""
    probs = np.exp(log_softmax(raw.reshape(len(raw), config.stoch, config.classes)))
    return np.log((1 - config.unimix) * probs + config.unimix / config.classes)


def prior(params, config, deter):
    x = deter
    for i in range(config.prior_layers):
        x = layer(params[f"prior_hidden_{i}"], x)
    return mixed(dense(params["prior_out"], x), config)


def posterior(params, config, deter, tokens):
    """The first layer reads deter and the embedded observation side by side: the sum of two products."""
    x = dense(params["post_deter"], deter) + dense(params["post_embed"], tokens)
    return mixed(dense(params["post_out"], rms_silu(params["post_norm"], x)), config)


def feature(deter, stoch):
    return np.concatenate([deter, stoch.reshape(len(stoch), -1)], -1)


# Samples.


def uniform(keys, *shape):
    return np.float64(jax.vmap(lambda key: jax.random.uniform(key, shape))(keys))


def normal(keys, *shape):
    return np.float64(jax.vmap(lambda key: jax.random.normal(key, shape))(keys))


def one_hot(probs, u):
    """The first class whose cumulative probability reaches ``1 - u``."""
    index = np.sum(np.cumsum(probs, -1) < (1 - u)[..., None] * np.sum(probs, -1)[..., None], -1)
    return np.eye(probs.shape[-1])[index]


def fold(keys, t):
    return jax.vmap(jax.random.fold_in, (0, None))(keys, t)


def rows(key, indices):
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(indices, jnp.int32))


# Distributions.


def log_softmax(x):
    return x - np.log(np.sum(np.exp(x - x.max(-1, keepdims=True)), -1, keepdims=True)) - x.max(-1, keepdims=True)


def bins(num):
    x = np.linspace(-20, 20, num)
    return np.sign(x) * np.expm1(np.abs(x))


def decode(logits):
    return np.exp(log_softmax(logits)) @ bins(logits.shape[-1])


def cross_entropy(logits, target):
    """Of two-hot logits to a target, by searching the bins."""
    centers = bins(logits.shape[-1])
    upper = np.clip(np.searchsorted(centers, target, side="right"), 1, len(centers) - 1)
    weight = (target - centers[upper - 1]) / (centers[upper] - centers[upper - 1])
    at = lambda index: np.take_along_axis(log_softmax(logits), index[..., None], -1)[..., 0]
    return -(1 - weight) * at(upper - 1) - weight * at(upper)


def log_prob_and_entropy(raw, action, mask, actor):
    """Of a masked categorical of 3, 2 bits and 2 continuous numbers; raw outputs in that order."""
    legal = mask | ~mask.any(-1, keepdims=True)
    e = np.where(legal, np.exp(raw[..., :3]), 0)
    p = np.where(legal, (1 - actor.unimix) * e / e.sum(-1, keepdims=True), 0)
    p += actor.unimix * legal / legal.sum(-1, keepdims=True)
    log_p = np.log(np.where(p > 0, p, 1))
    q = (1 - actor.unimix) / (1 + np.exp(-raw[..., 3:5])) + actor.unimix / 2
    mean = np.tanh(raw[..., 5:7])
    std = actor.min_std + (actor.max_std - actor.min_std) / (1 + np.exp(-raw[..., 7:9] - 2))
    log_prob = (
        np.sum(action[..., :3] * log_p, -1)
        + np.sum(np.log(np.where(action[..., 3:5] == 1, q, 1 - q)), -1)
        + np.sum(-0.5 * ((action[..., 5:] - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi)), -1)
    )
    entropy = -np.sum(p * log_p, -1) - np.sum(q * np.log(q) + (1 - q) * np.log(1 - q), -1)
    return log_prob, entropy + np.sum(np.log(std) + 0.5 * np.log(2 * np.pi * np.e), -1)


def lambda_return(reward, cont, value, gamma, lam, is_last):
    returns = np.zeros_like(value)
    returns[:, -1] = value[:, -1]
    for t in reversed(range(value.shape[1] - 1)):
        mix = np.where(is_last[:, t + 1], 0, lam)
        following = (1 - mix) * value[:, t + 1] + mix * returns[:, t + 1]
        returns[:, t] = reward[:, t + 1] + gamma * cont[:, t + 1] * following
    return returns[:, :-1]


def class_probs(raw, mask, actor):
    """Softmax over legal classes, mixed with the uniform share over them."""
    legal = mask | ~mask.any(-1, keepdims=True)
    e = np.where(legal, np.exp(raw), 0)
    return np.where(legal, (1 - actor.unimix) * e / e.sum(-1, keepdims=True), 0) + actor.unimix * legal / legal.sum(
        -1, keepdims=True
    )


def act(raw, mask, actor, keys):
    """An action vector: a masked class of 3, 2 bits, 2 continuous numbers; raw outputs in that order."""
    part = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
    chosen = one_hot(class_probs(raw[:, :3], mask, actor), uniform(part[:, 0]))
    bits = uniform(part[:, 1], 2) < (1 - actor.unimix) * sigmoid(raw[:, 3:5]) + actor.unimix / 2
    std = actor.min_std + (actor.max_std - actor.min_std) * sigmoid(raw[:, 7:9] + 2)
    return np.concatenate([chosen, bits, np.tanh(raw[:, 5:7]) + std * normal(part[:, 2], 2)], -1)


def kl(left, right):
    return np.sum(np.exp(left) * (left - right), (-2, -1))


def binary_cross_entropy(logit, target):
    return -target * np.log(sigmoid(logit)) - (1 - target) * np.log(1 - sigmoid(logit))


# The update.


def update_losses(config, state, batch) -> SimpleNamespace:
    """Every loss of one update on ``batch``, and what it makes on the way.

    For observations "vector" and "action_mask", actions as in ``act``, the block GRU, categorical latents, two-hot heads,
    rollouts from the last ``imagination.last`` steps of each window, no kept latents.

    Returns:
        ``metrics`` by their names, ``deter [B, T, D]`` and ``logit [B, T, S, K]`` of the posterior, ``priority [B, T]``,
        ``low`` and ``high`` of the return scale; ``dream`` of ``imagine``, and ``learned_from``: what stands beside the
        outputs of actor and critic in their losses.
    """
    wide = lambda tree: jax.tree.map(np.float64, tree)
    params, slow = wide(state.params), wide(state.slow_critic)
    model, size = params["world_model"], batch.reward.shape
    key = jax.random.fold_in(state.key, state.step)
    model_key, dream_key, _ = jax.random.split(key, 3)
    vector = [action_vector_of(batch.action[:, t]) for t in range(size[1])]

    post = world_model(config, model, batch, vector, rows(model_key, batch.row))
    last = config.imagination.last
    recent = range(size[1] - last, size[1])
    flat = lambda x: np.stack([np.asarray(x)[:, t] for t in recent], 1).reshape(size[0] * last, *np.shape(x)[2:])
    index = (np.asarray(batch.row)[:, None] * size[1] + np.arange(size[1])[None])[:, size[1] - last :].reshape(-1)
    legal = flat(batch.obs["action_mask"]) > 0
    alive = 1 - flat(batch.is_terminal)
    dream = imagine(config, params, flat(post.deter), flat(post.stoch), legal, alive, rows(dream_key, index))
    learned = behavior(config, params, slow, state.retnorm, dream, batch, post, recent)
    priority = post.by_step.copy()
    priority[:, recent[0] : recent[-1]] += learned.error
    return SimpleNamespace(
        metrics={**post.metrics, **learned.metrics},
        deter=post.deter,
        logit=post.logit,
        priority=priority,
        low=learned.low,
        high=learned.high,
        dream=dream,
        learned_from=learned.learned_from,
    )


def action_vector_of(record):
    return np.concatenate([np.eye(3)[record[:, 0].astype(int)], record[:, 1:]], -1)


def world_model(config, model, batch, vector, keys):
    """Filters the window step by step, and takes every loss of each step where it stands."""
    sizes, scales, rssm = config.model, config.loss, model["rssm"]
    count, length = batch.reward.shape
    deter = np.zeros((count, sizes.deter))
    stoch = np.zeros((count, sizes.stoch, sizes.classes))
    previous = np.zeros_like(vector[0])
    states: dict[str, list[Any]] = {"deter": [], "stoch": [], "logit": []}
    losses: dict[str, list[Any]] = {}
    others: dict[str, list[Any]] = {}
    for t in range(length):
        first = np.asarray(batch.is_first)[:, t] | (t == 0)
        kept = 1 - first[:, None].astype(float)
        deter, stoch, previous = deter * kept, stoch * kept[..., None], previous * kept
        deter = transition(rssm["cell"], sizes, deter, stoch, previous)
        seen = np.float64(batch.obs["vector"][:, t])
        tokens = mlp(model["encoder"]["mlp"], symlog(seen))
        logit, expected = posterior(rssm, sizes, deter, tokens), prior(rssm, sizes, deter)
        stoch = one_hot(np.exp(logit), uniform(fold(keys, t), sizes.stoch))
        feat = feature(deter, stoch)
        divergence = kl(logit, expected)
        reward, cont = mlp(model["reward_head"], feat), mlp(model["cont_head"], feat)[:, 0]
        decoded = dense(model["decoder"]["out_vector"], mlp(model["decoder"]["mlp"], feat))
        mask = mlp(model["mask_head"], feat)
        goes_on = (1 - np.float64(batch.is_terminal[:, t])) * (scales.gamma if scales.cont_discount else 1)
        here = {
            "dyn": np.maximum(divergence, scales.free_nats),
            "rep": np.maximum(divergence, scales.free_nats),
            "reward": cross_entropy(reward, np.float64(batch.reward[:, t])),
            "cont": binary_cross_entropy(cont, goes_on),
            "rec_vector": np.sum((decoded - symlog(seen)) ** 2, -1),
            "rec_action_mask": np.sum(binary_cross_entropy(mask, np.float64(batch.obs["action_mask"][:, t])), -1),
        }
        more = {
            "train/kl": divergence,
            "train/prior_entropy": -np.sum(np.exp(expected) * expected, (-2, -1)),
            "train/post_entropy": -np.sum(np.exp(logit) * logit, (-2, -1)),
            "train/reward_error": np.abs(decode(reward) - batch.reward[:, t]),
        }
        for kept_so_far, values in ((losses, here), (others, more)):
            for name, value in values.items():
                kept_so_far.setdefault(name, []).append(value)
        for name, value in (("deter", deter), ("stoch", stoch), ("logit", logit)):
            states[name].append(value)
        previous = vector[t]
    weights = {"dyn": scales.dyn, "rep": scales.rep, "reward": scales.reward, "cont": scales.cont}
    by_step = sum(weights.get(name, scales.rec) * np.stack(values, 1) for name, values in losses.items())
    metrics = {f"train/loss/{name}": np.mean(values) for name, values in losses.items()}
    metrics |= {name: np.mean(values) for name, values in others.items()}
    metrics["train/world_model_loss"] = np.mean(by_step)
    joined = {name: np.stack(values, 1) for name, values in states.items()}
    return SimpleNamespace(metrics=metrics, by_step=by_step, **joined)


def imagine(config, params, deter, stoch, legal, alive, keys):
    """One rollout from each start: features and masks of H + 1 states, actions of the first H, what the heads say."""
    model, rssm, sizes = params["world_model"], params["world_model"]["rssm"], config.model
    feats, masks, actions = [feature(deter, stoch)], [legal], []
    for t in range(config.horizon):
        pair = jax.vmap(jax.random.split)(fold(keys, t))
        actions.append(act(mlp(params["actor"], feats[-1]), masks[-1], config.actor, pair[:, 0]))
        deter = transition(rssm["cell"], sizes, deter, stoch, actions[-1])
        stoch = one_hot(np.exp(prior(rssm, sizes, deter)), uniform(pair[:, 1], sizes.stoch))
        feats.append(feature(deter, stoch))
        masks.append(mlp(model["mask_head"], feats[-1]) > 0)
    cont = [sigmoid(mlp(model["cont_head"], feat)[:, 0]) for feat in feats]
    if config.loss.cont_discount:
        cont = [value / config.loss.gamma for value in cont]
    return SimpleNamespace(
        feats=feats,
        masks=masks,
        actions=actions,
        reward=np.stack([decode(mlp(model["reward_head"], feat)) for feat in feats], 1),
        cont=np.stack([alive, *cont[1:]], 1),
    )


def behavior(config, params, slow, retnorm, dream, batch, post, recent):
    """Returns, and the losses of actor and critic, on imagined steps and on the replayed steps ``recent``."""
    gamma, lam, rate, horizon = config.loss.gamma, config.loss.lam, config.loss.return_norm_rate, config.horizon
    value = np.stack([decode(mlp(params["critic"], feat)) for feat in dream.feats], 1)
    returns = lambda_return(dream.reward, dream.cont, value, gamma, lam, np.zeros(value.shape, bool))
    low = (1 - rate) * retnorm.low + rate * np.percentile(returns, 5)
    high = (1 - rate) * retnorm.high + rate * np.percentile(returns, 95)
    scale = max(config.loss.return_norm_limit, (high - low) / (1 - (1 - rate) ** (int(retnorm.count) + 1)))

    losses: dict[str, list[Any]] = {"actor": [], "critic": []}
    entropies, weights, weight = [], [], np.ones(len(value))
    for t in range(horizon):
        weight = weight * dream.cont[:, t] * (gamma if t else 1)
        raw = mlp(params["actor"], dream.feats[t])
        log_prob, entropy = log_prob_and_entropy(raw, dream.actions[t], dream.masks[t], config.actor)
        advantage = (returns[:, t] - value[:, t]) / scale
        losses["actor"].append(-weight * (log_prob * advantage + config.actor.entropy * entropy))
        losses["critic"].append(weight * value_loss(config, params["critic"], slow, dream.feats[t], returns[:, t]))
        entropies.append(entropy)
        weights.append(weight)

    tail = lambda x: np.stack([np.asarray(x)[:, t] for t in recent], 1)
    boot = returns[:, 0].reshape(len(batch.reward), len(recent))
    targets = lambda_return(tail(batch.reward), 1 - tail(batch.is_terminal), boot, gamma, lam, tail(batch.is_last))
    losses["critic_replay"], error = [], []
    for i, t in enumerate(recent[:-1]):
        feat, live = feature(post.deter[:, t], post.stoch[:, t]), 1 - np.float64(batch.is_last[:, t])
        losses["critic_replay"].append(live * value_loss(config, params["critic"], slow, feat, targets[:, i]))
        error.append(live * np.abs(targets[:, i] - decode(mlp(params["critic"], feat))))
    metrics = {f"train/loss/{name}": np.mean(values) for name, values in losses.items()}
    metrics |= {
        "train/actor_entropy": np.mean(entropies),
        "imagination/advantage_size": np.mean(np.abs(returns - value[:, :-1])) / scale,
        "imagination/return": np.mean(returns[:, 0]),
        "imagination/reward": np.mean(np.sum(dream.reward[:, 1:], 1)),
        "imagination/cont": np.mean(dream.cont[:, 1:]),
        "imagination/value": np.mean(value),
        "imagination/return_scale": scale,
    }
    learned_from = SimpleNamespace(
        weight=np.stack(weights, 1),
        advantage=(returns - value[:, :-1]) / scale,
        returns=returns,
        targets=targets,
        live=1 - tail(batch.is_last)[:, :-1],
        recent=np.stack([feature(post.deter[:, t], post.stoch[:, t]) for t in recent[:-1]], 1),
    )
    return SimpleNamespace(metrics=metrics, error=np.stack(error, 1), low=low, high=high, learned_from=learned_from)


def value_loss(config, critic, slow, feat, target):
    """Towards the return, and towards what the slow critic says."""
    logits = mlp(critic, feat)
    return cross_entropy(logits, target) + config.critic.slow_regularizer * cross_entropy(
        logits, decode(mlp(slow, feat))
    )


# The block GRU in JAX.


def norm_act(params: dict, x: jax.Array) -> jax.Array:
    """RMS norm over the last axis, then SiLU."""
    x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-4)
    return jax.nn.silu(x * jnp.broadcast_to(params["RMSNorm_0"]["scale"], x.shape))


def block_gru(config, params: dict, deter: jax.Array, stoch: jax.Array, action: jax.Array) -> jax.Array:
    """``models.rssm.BlockGRU`` on its own parameters: batch first, one block after the other, everything in its place."""
    layer = Layer(config.hidden, config.act, config.norm)
    inputs = {"in_deter": deter, "in_stoch": stoch, "in_action": action}
    joint = [layer.apply({"params": params[name]}, x) for name, x in inputs.items()]

    def dense(name: str, blocks: list[jax.Array]) -> list[jax.Array]:
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        return [x @ kernel[g] + jnp.broadcast_to(bias[g], (len(x), bias.shape[-1])) for g, x in enumerate(blocks)]

    blocks = jnp.split(deter, config.blocks, -1)
    hidden = dense("hidden", [jnp.concatenate([block, *joint], -1) for block in blocks])
    hidden = jnp.split(norm_act(params["hidden_norm"], jnp.concatenate(hidden, -1)), config.blocks, -1)
    following = []
    for block, gates in zip(blocks, dense("gates", hidden), strict=True):
        reset, candidate, update = jnp.split(gates, 3, -1)
        update = nn.sigmoid(update - 1)
        following.append(update * jnp.tanh(nn.sigmoid(reset) * candidate) + (1 - update) * block)
    return jnp.concatenate(following, -1)
