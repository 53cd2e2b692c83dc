"""Options of the networks: world model, actor, critic, ensemble."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dreamjax.config.schema import Options, option, require


def _odd(number: int) -> bool:
    return number >= 3 and number % 2 == 1


ODD = ("an odd number, 3 or more", _odd)


@dataclass(frozen=True)
class ModelConfig(Options):
    """The world model."""

    kind: Literal["rssm", "grid"] = option(
        "rssm", "One vector of latents for any observation, or a latent state that lies on the board (grids only)."
    )
    latent: Literal["categorical", "gaussian"] = option(
        "categorical", "Straight-through classes (stoch x classes), or stoch means and standard deviations."
    )
    cell: Literal["block_gru", "gru"] = option("block_gru", "DreamerV3's block GRU, or one dense GRU.")
    deter: int = option(512, "Size of the recurrent state.", above=0)
    blocks: int = option(
        8, "Groups of the recurrent state in the block GRU, and in the decoder if image_conv=pooled.", above=0
    )
    stoch: int = option(32, "Stochastic variables of a latent state.", above=0)
    classes: int = option(4, "Classes of each categorical variable.", above=0)
    hidden: int = option(64, "Width of the transition, prior and posterior layers.", above=0)
    units: int = option(64, "Width of encoder, decoder and heads.", above=0)
    layers: int = option(3, "Layers of encoder and decoder.", above=0)
    head_layers: int = option(1, "Layers of the reward and continue heads.", at_least=0)
    prior_layers: int = option(2, "Layers of the prior.", above=0)
    posterior_layers: int = option(1, "Layers of the posterior.", above=0)
    grid_encoder: Literal["dense", "conv"] = option(
        "dense", "How boards are encoded: matrix products over patches (fast on CPUs), or convolutions."
    )
    image_conv: Literal["strided", "pooled"] = option(
        "strided",
        "Convolutions of images: strided ones, for images of any size; or max-pooled on the way in and repeated pixels on "
        "the way out, as in DreamerV3's published code, for sides that are multiples of 16 from 48 to 256.",
    )
    conv_depth: int = option(
        4,
        "Channels of the first convolution of images (pooled: half of them), and of boards if grid_encoder=conv.",
        above=0,
    )
    unimix: float = option(
        0.01, "Fraction of the uniform distribution mixed into categorical latents.", at_least=0, at_most=1
    )
    min_std: float = option(0.1, "Lower bound of Gaussian standard deviations.", above=0)
    symlog: bool = option(True, "Read and predict vector observations in symlog space.")
    act: Literal["silu", "relu", "elu", "gelu", "tanh"] = option("silu", "Activation function of all layers.")
    norm: Literal["rms", "none"] = option("rms", "Normalization of all layers.")
    reward_head: Literal["twohot", "mse"] = option(
        "twohot", "Reward predictions: two-hot over symexp bins, or the mean in symlog space."
    )
    bins: int = option(255, "Bins of the two-hot reward head.", rule=ODD)
    edit_radius: int = option(
        0,
        "model.kind=grid only: rows above and below the action's cell that the action may change.",
        unit="cells",
        at_least=0,
        zero="an object moves as a whole where the grid has one, else 4",
    )

    def check(self) -> None:
        """Raises ConfigError if the GRU does not split into its blocks, or categorical latents have one class."""
        if self.cell == "block_gru":
            require(self.deter % self.blocks == 0, "deter", self.deter, f"must be a multiple of blocks={self.blocks}")
        if self.latent == "categorical":
            require(self.classes >= 2, "classes", self.classes, "categorical latents need 2 or more")


@dataclass(frozen=True)
class ActorConfig(Options):
    """The policy, trained by REINFORCE for every kind of action.

    Activation and normalization follow the world model.
    """

    layers: int = option(3, "Layers of the network.", above=0)
    units: int = option(64, "Width of the network.", above=0)
    unimix: float = option(
        0.01, "Fraction of the uniform distribution mixed into categorical and binary policies.", at_least=0, at_most=1
    )
    entropy: float = option(3e-4, "Scale of the entropy bonus.", at_least=0)
    min_std: float = option(0.1, "Lower bound of the standard deviation of continuous policies.", above=0)
    max_std: float = option(1.0, "Upper bound of the standard deviation of continuous policies.", above=0)
    output_scale: float = option(
        0.01, "Scale of the last layer's initial weights; a small one starts near the uniform policy.", at_least=0
    )
    binary_bias: tuple[float, ...] = option(
        (),
        "Initial bias of each binary action's logit, one number for each, so that a rare action such as a hard drop "
        "starts rare. Empty: zeros.",
        rule=("finite", lambda values: all(map(math.isfinite, values))),
    )

    def check(self) -> None:
        """Raises ConfigError if the bounds of the standard deviation are the wrong way round."""
        require(self.min_std <= self.max_std, "min_std", self.min_std, f"must be at most max_std={self.max_std}")


@dataclass(frozen=True)
class CriticConfig(Options):
    """The value function."""

    layers: int = option(3, "Layers of the network.", above=0)
    units: int = option(64, "Width of the network.", above=0)
    head: Literal["twohot", "mse"] = option("twohot", "Values: two-hot over symexp bins, or the mean in symlog space.")
    bins: int = option(255, "Bins of the two-hot head.", rule=ODD)
    slow_rate: float = option(0.02, "Rate of the moving average that is the slow critic.", above=0, at_most=1)
    slow_target: bool = option(False, "Bootstrap returns from the slow critic instead of the critic.")
    slow_regularizer: float = option(1.0, "Scale of the critic's loss towards the slow critic.", at_least=0)
    replay_scale: float = option(0.3, "Scale of the value loss on replayed steps.", at_least=0, zero="off")
    replay_gradient: bool = option(False, "Let the value loss on replayed steps train the world model too (DreamerV3).")


@dataclass(frozen=True)
class EnsembleConfig(Options):
    """One-step predictors whose disagreement rewards exploration (Plan2Explore, Sekar et al. 2020).

    Activation and normalization follow the world model, the optimizer's constants those of ``optimizer``.
    """

    size: int = option(0, "Members.", at_least=2, zero="off")
    layers: int = option(2, "Layers of each member.", above=0)
    units: int = option(64, "Width of each member.", above=0)
    lr: float = option(3e-4, "Learning rate.", above=0)
    rate: float = option(
        0.01, "Rate of the moving percentiles (5th to 95th) that normalize the disagreement.", above=0, at_most=1
    )
