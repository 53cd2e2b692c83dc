"""An environment beside the one that an agent was trained in: entries and actions are matched by name."""

from __future__ import annotations

from typing import Protocol

from gymnasium import spaces

from dreamjax.envs.action_codec import ActionCodec
from dreamjax.envs.checks import EnvError
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec


class Matched(Protocol):
    """The members of ``Adapter`` that matching reads and sets."""

    name: str
    spec: EnvSpec
    actions: ActionCodec


def match(env: Matched, trained: EnvSpec) -> None:
    """Gives ``env`` the order of actions that an agent was trained with.

    Parts of an action space have the names of its keys. Where the environment has the same parts in another order, its
    actions are decoded in the trained order, and ``env.spec`` has that order. A specification of an older version has no
    names: its kinds and sizes must be the same in order.

    Args:
        env: an adapter. trained: specification that the agent was trained with.

    Raises:
        EnvError: observation entries or actions differ otherwise; the message shows both.
    """
    here = {name: _entry(entry) for name, entry in env.spec.obs.items()}
    there = {name: _entry(entry) for name, entry in trained.obs.items()}
    if here != there:
        different = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        raise EnvError(
            f"{env.name}: the agent was trained with other observations: {_listed(there, different)}; here there is "
            f"{_listed(here, different)}. env.ignore leaves entries out, env.obs says how they are read"
        )
    ours, theirs = env.spec.action.parts, trained.action.parts
    named = all(part.name for part in theirs)
    if [_part(part, named) for part in ours] == [_part(part, named) for part in theirs]:
        return
    names = [part.name for part in theirs]
    by_name = {part.name: part for part in ours}
    same = {_part(part, True) for part in ours} == {_part(part, True) for part in theirs}
    if not (named and same and len(by_name) == len(ours) == len(theirs)):
        shown = [", ".join(_part(part, True) for part in parts) for parts in (theirs, ours)]
        raise EnvError(f"{env.name}: the agent was trained with the actions [{shown[0]}]; here they are [{shown[1]}]")
    env.actions = ActionCodec(env.actions.space, order=names)
    env.spec = EnvSpec(env.spec.obs, ActionSpec(tuple(by_name[name] for name in names)))


def saved_spaces(env: object) -> tuple[spaces.Space, spaces.Space] | None:
    """The single spaces (observation, action) of an adapter's environment."""
    vector = getattr(env, "env", None)
    found = [getattr(vector, f"single_{name}_space", None) for name in ("observation", "action")]
    return None if None in found else (found[0], found[1])  # type: ignore[return-value]


def _entry(entry: ObsSpec) -> str:
    classes = f" of {entry.classes} classes" if entry.classes else ""
    return f"{entry.kind} {entry.dtype} {list(entry.shape)}{classes}"


def _listed(entries: dict[str, str], names: list[str]) -> str:
    return ", ".join(f"{name} ({entries[name]})" if name in entries else f"no {name}" for name in names)


def _part(part: ActionPart, with_name: bool) -> str:
    return f"{part.name} ({part.kind} {part.size})" if with_name else f"{part.kind} {part.size}"
