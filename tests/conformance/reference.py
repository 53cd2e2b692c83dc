"""The golden numbers of the DreamerV3 reference, and the same things as DreamJAX holds them.

The README beside this file says what the numbers are and how the parameters of the two map onto each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from dreamjax.config import Config, from_dict, merge, presets
from dreamjax.types import ActionPart, ActionSpec, Batch, EnvSpec, NormalizerState, ObsSpec, RSSMState, TrainState

Tensors = dict[str, np.ndarray]

KINDS = ("vector", "continuous")
DETER, STOCH, CLASSES, BLOCKS = 32, 4, 4, 8

SIZES: dict[str, Any] = {
    "batch_size": 4, "batch_length": 8, "horizon": 5,
    "model": {"deter": DETER, "blocks": BLOCKS, "stoch": STOCH, "classes": CLASSES, "hidden": 16, "units": 16},
    # The published code has no uniform share in the actor (difference 7).
    "actor": {"units": 16, "unimix": 0.0},
    "critic": {"units": 16},
    "optimizer": {"world_model_lr": 1e-3, "actor_lr": 1e-3, "critic_lr": 1e-3, "warmup": 3},
}  # fmt: skip

# Where tensors of the reference lie in our tree, as patterns. "layer" is a Dense and the norm behind it.
LAYERS = {
    r"enc/mlp(\d)": r"world_model/encoder/mlp/Layer_\1",
    r"dec/mlp/\w+(\d)": r"world_model/decoder/mlp/Layer_\1",
    r"dec/sp1": "world_model/decoder/images/stoch",
    r"dyn/dynin0": "world_model/rssm/cell/in_deter",
    r"dyn/dynin1": "world_model/rssm/cell/in_stoch",
    r"dyn/dynin2": "world_model/rssm/cell/in_action",
    r"dyn/prior(\d)": r"world_model/rssm/prior_hidden_\1",
    r"rew/mlp/\w+(\d)": r"world_model/reward_head/Layer_\1",
    r"con/mlp/\w+(\d)": r"world_model/cont_head/Layer_\1",
    r"val/mlp/\w+(\d)": r"critic/Layer_\1",
    r"pol/mlp/\w+(\d)": r"actor/Layer_\1",
}
OTHERS = {
    "dec/vec/vector/pred": "world_model/decoder/out_vector/dense",
    "dyn/dynhid0": "world_model/rssm/cell/hidden",
    "dyn/dynhid0norm": "world_model/rssm/cell/hidden_norm/RMSNorm_0",
    "dyn/dyngru": "world_model/rssm/cell/gates",
    "dyn/obs0": "world_model/rssm/post_deter/dense",  # of its kernel, the rows that read deter
    "dyn/obs0norm": "world_model/rssm/post_norm/RMSNorm_0",
    "dyn/obslogit": "world_model/rssm/post_out/dense",
    "dyn/priorlogit": "world_model/rssm/prior_out/dense",
    "rew/head/logits": "world_model/reward_head/Dense_0/dense",
    "con/head/logit": "world_model/cont_head/Dense_0/dense",
    "val/head/logits": "critic/Dense_0/dense",
    "pol/head/action/logits": "actor/Dense_0/dense",
    "pol/head/action": "actor/Dense_0/dense",  # of the mean and stddev of continuous actions, as one tensor
    # Images. The reference numbers the decoder's convolutions by the encoder's that they mirror, Flax by their order.
    **{f"enc/cnn{i}": f"world_model/encoder/images/Conv_{i}" for i in range(4)},
    **{f"enc/cnn{i}norm": f"world_model/encoder/images/NormAct_{i}/RMSNorm_0" for i in range(4)},
    "dec/sp0": "world_model/decoder/images/deter",
    "dec/sp2": "world_model/decoder/images/places/dense",
    "dec/spnorm": "world_model/decoder/images/NormAct_0/RMSNorm_0",
    **{f"dec/conv{i}": f"world_model/decoder/images/Conv_{2 - i}" for i in range(3)},
    **{f"dec/conv{i}norm": f"world_model/decoder/images/NormAct_{3 - i}/RMSNorm_0" for i in range(3)},
    "dec/imgout": "world_model/decoder/images/Conv_3",
}
EMBED = "world_model/rssm/post_embed/dense/kernel"
MODULES = {
    "enc": "world_model/encoder", "dyn": "world_model/rssm", "dec": "world_model/decoder",
    "rew": "world_model/reward_head", "con": "world_model/cont_head", "pol": "actor", "val": "critic",
}  # fmt: skip


def load(kind: str) -> Tensors:
    """The arrays of one of the two files."""
    with np.load(Path(__file__).parent / f"dreamerv3_{kind}.npz", allow_pickle=False) as file:
        return dict(file)


def below(tensors: Tensors, prefix: str) -> Tensors:
    """The arrays whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def config() -> Config:
    """The preset ``dreamerv3`` in the size of the golden numbers."""
    return from_dict(merge(presets.dreamerv3(), SIZES))


def spec(kind: str) -> EnvSpec:
    """Six numbers to see; three actions, or two numbers."""
    part = (
        ActionPart("categorical", 3) if kind == "vector" else ActionPart("continuous", 2, low=(-1,) * 2, high=(1,) * 2)
    )
    return EnvSpec({"vector": ObsSpec("vector", (6,), "float32")}, ActionSpec((part,)))


def place(name: str) -> str:
    """Where a tensor of the reference lies in our tree: its path, joined by slashes."""
    module, leaf = name.rsplit("/", 1)
    if module in OTHERS:
        return f"{OTHERS[module]}/{leaf}"
    inside = "NormAct_0/RMSNorm_0/scale" if leaf == "scale" else f"Dense_0/dense/{leaf}"
    for pattern, path in LAYERS.items():
        if match := re.fullmatch(pattern, module.removesuffix("norm")):
            return f"{match.expand(path)}/{inside}"
    raise KeyError(name)


def to_ours(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Tensors by the reference's names as our tree of parameters."""
    flat: Tensors = {}
    for name, value in tensors.items():
        if name == "dec/mlp/linear0/kernel":  # reads [stoch, deter]; ours [deter, stoch]
            value = np.roll(value, DETER, 0)
        elif name in ("dyn/dynhid0/bias", "dyn/dyngru/bias"):
            value = value.reshape(BLOCKS, -1)
        elif name == "dyn/obs0/kernel":
            value, flat[EMBED] = value[:DETER], value[DETER:]
        elif "/mean/" in name:
            value, name = (
                np.concatenate([value, tensors[name.replace("mean", "stddev")]], -1),
                name.replace("mean/", ""),
            )
        elif "/stddev/" in name:
            continue
        flat[place(name)] = value
    return traverse_util.unflatten_dict(flat, sep="/")


def to_reference(tree: Any, like: Mapping[str, Any]) -> Tensors:
    """The inverse of ``to_ours``: our tree (parameters, or a gradient of them) as tensors by the names and of the
    shapes of ``like``."""
    flat, tensors = traverse_util.flatten_dict(tree, sep="/"), {}
    for name, given in like.items():
        value = np.asarray(flat[place(re.sub("mean/|stddev/", "", name))])
        if name == "dec/mlp/linear0/kernel":
            value = np.roll(value, -DETER, 0)
        elif name == "dyn/obs0/kernel":
            value = np.concatenate([value, flat[EMBED]])
        elif "/mean/" in name or "/stddev/" in name:
            value = np.split(value, 2, -1)["/stddev/" in name]
        tensors[name] = value.reshape(given.shape)
    return tensors


def batch(tensors: Tensors) -> Batch:
    """The windows, with the latents and the action of the step before them."""
    given = below(tensors, "batch/")

    def record(action: np.ndarray) -> np.ndarray:
        return action if action.dtype == np.float32 else action[..., None]

    return Batch(
        obs={"vector": given["vector"]},
        action=record(given["action"]),
        reward=given["reward"],
        is_first=given["is_first"],
        is_last=given["is_last"],
        is_terminal=given["is_terminal"],
        row=np.arange(len(given["reward"]), dtype=np.int32),
        prev_action=record(given["prev_action"]),
        context=RSSMState(given["context_deter"], np.eye(CLASSES, dtype=np.float32)[given["context_stoch"]]),
    )


def state(
    tensors: Tensors, optimizers: Mapping[str, Any], low: float = 0.0, high: float = 0.0, count: int = 0
) -> TrainState:
    """The state before the first update, with percentiles ``low`` and ``high`` that ``count`` updates have moved."""
    params = jax.tree.map(jnp.asarray, to_ours(below(tensors, "param/")))
    slow = to_ours({f"val/{name}": value for name, value in below(tensors, "slow/").items()})["critic"]
    return TrainState(
        step=jnp.int32(0),
        key=jax.random.key(0),
        params=params,
        slow_critic=jax.tree.map(jnp.asarray, slow),
        opt_state={name: optimizer.init(params[name]) for name, optimizer in optimizers.items()},
        retnorm=NormalizerState(jnp.float32(low), jnp.float32(high), jnp.int32(count)),
        ring=None,
        explorer=None,
    )


def table(tensors: Tensors) -> Any:
    """A function in place of ``row_uniform`` and ``row_normal``: the stored numbers of the shape that is asked for."""
    noise = {value.shape: jnp.asarray(value) for value in below(tensors, "noise/").values()}
    return lambda keys, shape: noise[(*keys.shape, *shape)]


def entries(tensors: Tensors, golden: Tensors) -> Tensors:
    """The numbers, golden or ours, as the entries that are compared.

    Rows of norms and losses are cut up: ``grad/norm/<tensor>``, ``updates/param_norm/<count>/<module>``,
    ``updates/slow_norm/<count>``, and losses of updates 1 and 2 (the first has the rate 0) apart from the later ones.
    """
    names, result = golden["names"], dict(tensors)
    modules = [str(name).split("/")[0] for name in names]
    for name in ("grad/norm", "warm/grad_norm", "repval_stopped/grad_norm"):
        result |= {f"{name}/{tensor}": x for tensor, x in zip(names, result.pop(name), strict=True)}
    for name in ("updates/param_norm", "updates/change_norm"):
        for count, row in zip(golden["updates/count"], result.pop(name), strict=True):
            result |= {f"{name}/{count}/{module}": row[np.isin(modules, module)] for module in MODULES}
    for count, row in zip(golden["updates/count"], result.pop("updates/slow_norm"), strict=True):
        result[f"updates/slow_norm/{count}"] = row
    for name, column in zip(golden["updates/loss_names"], result.pop("updates/loss").T, strict=True):
        result |= {f"updates/loss/1-2/{name}": column[:2], f"updates/loss/3-20/{name}": column[2:]}
    return result


def error(name: str, ours: np.ndarray, golden: np.ndarray) -> float:
    """The greatest error of an entry, relative to its greatest number; rows of norms and losses by each number.

    One of the percentiles passes through 0.
    """
    ours, golden = np.asarray(ours, np.float64), np.asarray(golden, np.float64)
    assert ours.shape == golden.shape, (name, ours.shape, golden.shape)
    by_number = name.startswith("updates/") and name != "updates/percentiles"
    size = np.abs(golden) if by_number else np.max(np.abs(golden))
    wrong = np.abs(ours - golden)
    return float(np.max(np.where(size > 0, wrong / np.where(size > 0, size, 1.0), wrong)))
