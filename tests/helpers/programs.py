"""One trace for all trainers of one configuration: a run that is resumed calls the programs of the run that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import pytest

from dreamjax.training import trainer, updates
from dreamjax.training.collection import acting


def share_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until ``monkeypatch`` ends, agents are made once for a configuration and environment, their programs for an agent."""
    kept: dict[Hashable, Any] = {}

    def once(key_of: Callable[..., Hashable], fn: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            key = fn, key_of(*args, **kwargs)
            if key not in kept:
                kept[key] = fn(*args, **kwargs), args  # the arguments too: while they live, no other has their id
            return kept[key][0]

        return call

    def patch(module: Any, name: str, key_of: Callable[..., Hashable]) -> None:
        monkeypatch.setattr(module, name, once(key_of, getattr(module, name)))

    patch(trainer, "make_agent", lambda config, spec: repr((config, spec)))
    patch(
        updates, "pure_update", lambda agent, config, phases: (id(agent), config.optimizer.skip_nonfinite > 0, phases)
    )
    patch(updates, "compile_update", lambda update, num_devices, *, count: (id(update), num_devices, count))
    patch(acting, "policy_by", lambda agent, name, *, exploring: (id(agent), name, exploring))
