"""Grids of every kind, grid world models for them, and one observed step of each."""

from __future__ import annotations

import functools

import jax
import numpy as np

from dreamjax.algorithms.world_model_loss import window_inputs
from dreamjax.models.encoders import preprocess
from dreamjax.models.grid.layout import GridLayout, grid_layout
from dreamjax.models.grid.pointer import GAIN
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from tests.helpers import networks
from tests.helpers.batches import random_batch
from tests.helpers.configs import make_tiny_config
from tests.helpers.parameters import random_params
from tests.helpers.xla import QUICK


def board(channels, height, width, classes=2):
    return ObsSpec("grid", (channels, height, width), "uint8", classes)


def mask(size):
    return ObsSpec("mask", (size,), "int8")


CLASS = lambda size, masked=False: ActionSpec((ActionPart("categorical", size, masked=masked),))
BUTTONS = ActionSpec((ActionPart("binary", 3),))
PIECE, KIND = ObsSpec("vector", (3,), "float32"), ObsSpec("discrete", (2,), "int32", 3)
SPECS = {
    "cells": EnvSpec({"piece": PIECE, "action_mask": mask(30), "board": board(1, 6, 5)}, CLASS(30, masked=True)),
    "object": EnvSpec({"piece": PIECE, "board": board(2, 6, 5), "kind": KIND}, BUTTONS),
    "colors": EnvSpec({"board": board(2, 5, 7, classes=3), "kind": KIND}, ActionSpec((ActionPart("continuous", 2),))),
    "alone": EnvSpec({"board": board(1, 6, 4)}, BUTTONS),
    "alone, cells, low": EnvSpec({"board": board(1, 3, 3)}, CLASS(9)),
    "narrow, mask of four": EnvSpec({"board": board(2, 2, 1), "action_mask": mask(4)}, CLASS(4, masked=True)),
}
CASES = [("cells", 2), ("object", 0), ("object", 1), ("colors", 0), ("colors", 2)]
WIDE = GridLayout("board", 2, 14, 16, 2, (), (), 0, 8, 5, "action")
jit = functools.partial(jax.jit, compiler_options=QUICK)


def grid_config(reach, **model):
    return make_tiny_config(model={"kind": "grid", "edit_radius": reach, **model})


def compiled(model):
    """The model, each function as one program: operation by operation it would be some hundred."""
    names = ("embed", "observe", "imagine", "predict", "decode", "prior_logit")
    return model._replace(**{part: jit(getattr(model, part)) for part in names})


@functools.cache
def case(name, reach):
    """Model, parameters, layout and compiled functions of a case."""
    config = grid_config(reach)
    model = networks.world_model(config, SPECS[name])
    return compiled(model), random_params(model.init), grid_layout(config.model, SPECS[name])


def filtered(name, reach, is_first=False, state=None):
    """One observed step of four rows: the state before, the action, what is seen, and the posterior."""
    model, params, _ = case(name, reach)
    batch = random_batch(SPECS[name], batch=4, length=3)
    action = window_inputs(model, SPECS[name], batch)[0][:, 1]
    obs = {k: v[:, 1] for k, v in batch.obs.items()}
    embed = model.embed(params, preprocess(SPECS[name].obs, obs))
    if state is None:
        before = {k: v[:, 0] for k, v in batch.obs.items()}
        first = model.embed(params, preprocess(SPECS[name].obs, before))
        state, _ = model.observe(params, model.initial(4), action, first, np.ones(4, bool), keys(0))
    post, logit = model.observe(params, state, action, embed, np.broadcast_to(is_first, 4), keys(1))
    return state, action, obs, embed, post, logit


def keys(seed):
    return jax.random.split(jax.random.key(seed), 4)


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)


def as_kept(params):
    """A pointer's kernels as they are kept, given as they act."""
    return {name: {**layer, "kernel": layer["kernel"] / GAIN} for name, layer in params.items()}


def sharpened(pointer):
    """A pointer's parameters with the same heaviest shift of every row, which outweighs all others."""
    factor = {"kernel": 1e3, "bias": 1e3}
    heavy = {name: jax.tree.map(lambda x, f: x * f, dict(pointer[name]), factor) for name in ("score", "blank")}
    for part in heavy.values():
        part["bias"] = part["bias"] + 1e5  # above the scores of what is never taken
    return {**pointer, **heavy}
