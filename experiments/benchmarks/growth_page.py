"""The page on long runs, from the rows of ``benchmark growth``: what grows how, and what 1e8 and 1e9 steps need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dreamjax.config import from_dict, merge
from dreamjax.config.presets import size

STEPS = (10**8, 10**9)
DAY = 86_400.0
# Why an exponent is what it is, by the row's name; the page names those above LINEAR that have no reason here.
REASONS = {
    "update by batch": "matrix products and element-wise work over B x T rows: linear",
    "update by window": "the scan takes T steps, and imagination starts from B x T states: linear",
    "update by horizon": "H imagined steps of every start, and a world-model loss that does not depend on H: below linear",
    "update by parameters": "larger products run nearer to the machine's rate, and sampling and losses cost the same: "
    "below linear",
    "a step of all environments, by their number": "a vectorized game and one call of the policy: below linear",
    "drawing a batch, by steps stored, uniform": "positions are drawn by arithmetic; only cache misses grow",
    "drawing a batch, by steps stored, prioritized": "a sum tree, whose depth is the logarithm of the stored steps",
    "CPU time of an update of one batch, by devices": "small parts of a batch use each core less well, and gradients are "
    "averaged; the wall time needs a core for each device",
}
LINEAR = 1.1


def page(rows: Sequence[dict[str, Any]], machine: dict[str, Any], command: str) -> str:
    """Markdown. Everything in it is one of ``rows`` or arithmetic on them that the page shows."""
    by_name = {entry["name"]: entry for entry in rows}
    fitted = [entry for entry in rows if entry["unit"] == "exponent"]
    lines = [
        "# How cost grows, and what long runs need",
        "",
        f"Written by `{command}` on {machine['cpus']} cores ({machine['model']}), float32, jax {machine['jax']}, load "
        f"{machine['load_before']:.1f} before, {machine['load_after']:.1f} after. Each exponent is the slope of log cost "
        "over log size by least squares; the next column has the least and greatest slope between neighboring sizes. Costs "
        "are seconds; costs of activations are MiB of device memory in addition to the state.",
        "",
        "| cost | exponent | between neighbors | points (size: cost) | why |",
        "|---|---:|---:|---|---|",
    ]
    for entry in fitted:
        points = ", ".join(f"{x:,.0f}: {y:.4g}" for x, y in entry["points"])
        slopes = f"{entry['least']:.2f} to {entry['greatest']:.2f}"
        reason = REASONS.get(entry["name"], "as the update" if entry["name"].startswith("its activations") else "")
        lines.append(f"| {entry['name']} | {entry['value']:.2f} | {slopes} | {points} | {reason} |")
    above = [entry["name"] for entry in fitted if entry["value"] > LINEAR]
    lines += ["", f"Costs that grow faster than linearly (exponent above {LINEAR}): {', '.join(above) or 'none'}.", ""]
    return "\n".join(lines + _needs(by_name)) + "\n"


def _needs(rows: dict[str, dict[str, Any]]) -> list[str]:
    config = from_dict(merge(size("1m")))
    update = rows["update 1m, 16x64, horizon 15"]
    (envs, step), *_ = reversed(rows["a step of all environments, by their number"]["points"])
    stored = rows["drawing a batch, by steps stored, uniform"]["bytes_a_step"]
    state = update["parameters"] * 4 * 4 / 1e6  # parameters, two moments, and at most as much for the slow critic
    lines = [
        "## Runs of 1e8 and 1e9 environment steps",
        "",
        f"The smallest size (1m, {update['parameters']:,} parameters), batches of {config.batch_size} x "
        f"{config.batch_length}, Tetris with buttons. An update takes {update['value']:.3g} s here and "
        f"{update['gflop']:.1f} GFLOP; "
        f"{envs:,} environments make {envs / step:,.0f} steps/s, acting included; a stored step takes {stored:,.0f} "
        f"bytes. updates = steps x train ratio / {config.batch_size * config.batch_length}; days are seconds / 86,400.",
        "",
        "| steps | train ratio | updates | PFLOP | updating here | collecting here | replay of all steps | "
        "machines like this to update in 7 days |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for steps in STEPS:
        for ratio in (64, 1):
            updates = steps * ratio / (config.batch_size * config.batch_length)
            days = updates * update["value"] / DAY
            collecting = steps * step / envs / DAY
            lines.append(
                f"| {steps:.0e} | {ratio} | {updates:.2e} | {updates * update['gflop'] / 1e6:,.0f} | {days:,.1f} days | "
                f"{collecting:,.1f} days | {steps * stored / 1e9:,.0f} GB | {max(1, -(-days // 7)):,.0f} |"
            )
    lines += [
        "",
        "Consequences:",
        "",
        "- Updates cost more than environments: at ratio 64 a step costs "
        f"{64 / 1024 * update['value'] * 1e3:.3g} ms of updating and {step / envs * 1e3:.3g} ms of collecting. Lower the "
        "train ratio or use an accelerator before adding hosts.",
        "- Replay does not need to hold all steps: it keeps the newest `replay.capacity` steps. "
        f"{64e9 / stored / 1e6:,.0f} million steps fit 64 GB; 1e9 steps would need "
        f"{1e9 * stored / 1e9:,.0f} GB, divided among the processes of a run (each holds the steps of its environments). "
        "The time to draw a batch hardly depends on the number of stored steps.",
        f"- A checkpoint holds about {state:,.0f} MB of learner state and the steps since the previous checkpoint; the "
        "`checkpoint.keep` newest checkpoints link the same replay segments, so a disk needs room for the replay once and "
        "for the steps between the oldest kept checkpoint and the newest.",
        "- Several processes (`--distributed.*`) split environments, replay and each batch evenly. Gradients of "
        f"{update['parameters'] * 4 / 1e6:.1f} MB are averaged in each update, so hosts need a network that moves this in "
        "a small fraction of an update's time.",
        "- `metrics.jsonl` gets one line of about 1 kB every `log.metrics_every` updates: raise that with the number of "
        "updates.",
    ]
    return lines


__all__ = ["page"]
