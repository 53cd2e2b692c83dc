"""The thin loop: collect, update, log, evaluate, checkpoint. The only place where things change."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dreamjax.agents.agent import make_agent
from dreamjax.algorithms.exploration import explorer_params
from dreamjax.algorithms.planning.model import disagreement_weights
from dreamjax.buffers.sequence_buffer import Indices, nbytes_for
from dreamjax.config import Config, ConfigError, to_dict
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.make import make_env
from dreamjax.reporting.logger import Logger
from dreamjax.seeds import evaluation_seed
from dreamjax.training.calls import in_calls, separate
from dreamjax.training.collection.acting import CollectingInputs, make_acting
from dreamjax.training.collection.collector import Collector
from dreamjax.training.collection.compiled_collector import engine_of
from dreamjax.training.evaluation.evaluator import evaluate
from dreamjax.training.metrics import MetricMeans, TrainError
from dreamjax.training.runtime import devices, hosts, memory
from dreamjax.training.runtime.background_compiler import Ahead
from dreamjax.training.runtime.stop import Stop
from dreamjax.training.runtime.watchdog import Watchdog
from dreamjax.training.schedule import Due, crossed, make_schedule
from dreamjax.training.storage import checkpoint, recording, warm_start, workdir
from dreamjax.training.storage.checkpoint import CheckpointError
from dreamjax.training.storage.segments import Segments
from dreamjax.training.updates import Updates
from dreamjax.types import Batch, EnvSpec, NormalizerState, Params, ReplayOuts

Drawn = tuple[Batch, Indices]


class Trainer:
    """One run of a configuration in a work directory.

    Making it validates everything, prints what will run, and restores the newest intact checkpoint where there is one;
    nothing in the directory is changed before all of that holds. ``run`` then trains.

    Args:
        config: of the run. path: the work directory.
        resume: "auto" goes on where there is a run, "never" refuses to, "must" refuses to begin.
        stop: asked between steps whether to write a checkpoint and leave.

    Raises:
        ConfigError, EnvError, UsageError: it cannot be run as it stands.
        CheckpointError: there are checkpoints, but none that is intact and fits.
    """

    def __init__(
        self,
        config: Config,
        path: str | Path,
        *,
        resume: workdir.Resume = "auto",
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self.config, self.path, self.group = config, Path(path).resolve(), hosts.Group()
        self._asked = stop or Stop()
        self._stop = self.group.agreed(self._asked)
        if self.group.leads:
            workdir.check(path, config, resume)
        self.num_devices = devices.device_count(config.parallel.num_devices)
        self.schedule = make_schedule(config)
        hosts.check_layout(config, self.group, self.num_devices)
        self._share = hosts.share(config, self.group)

        self._recording = recording.open_recording(config.offline.replay) if config.offline.replay else None
        self._watchdog = Watchdog(
            patience=config.env.timeout, limit=config.env.hang_limit, say=self._warn, end=self._give_up
        )
        self._env, self.spec = self._open()
        self._eval_env: Adapter | None = None
        self.agent = make_agent(config, self.spec)
        self._latents = recording.kept_latents(config.replay, self.agent.world_model)
        fresh = self.group.from_leader(checkpoint.latest(self.path) is None)
        # On one device the programs can be compiled before there is anything to call them with.
        ahead = Ahead(self.num_devices == self.group.count == 1 and self._steps_left())
        self._init = devices.once(self.agent.init)
        shapes = jax.eval_shape(self._init, jax.random.key(config.seed))
        self._init_ready = ahead.begin(self._init, jax.random.key(config.seed)) if fresh else None
        self._updates = Updates(self.agent, config, self.schedule.batches, self.num_devices)
        needed = self._check_memory(shapes)
        self._warm = warm_start.read(config.init_from, shapes.params) if fresh else None
        num_envs, replay, seed = self._share
        latents = recording.latent_spec(self._latents)
        self.buffer = recording.make_replay(replay, self.spec, num_envs=num_envs, seed=seed, latents=latents)
        self._segments = Segments(self.buffer)

        self._lock = workdir.Lock(self.path) if self.group.leads else None
        if self.group.leads:
            workdir.check(path, config, resume)  # again, now that nobody else can write
        hosts.check_shared(self.path, self.group)
        self.logger = self._make_logger()
        self.means = MetricMeans(skip=config.optimiser.skip_nonfinite, say=self.logger.phase)
        self.logger.phase(memory.report(memory.parameter_count(shapes.params), needed))
        acts = shapes.params
        if shapes.explorer is not None:
            acts = jax.eval_shape(self._exploring, shapes.params, shapes.explorer.novelty)
        acting = make_acting(self.agent, config, self._env, acts, ahead, say=self.logger.phase)
        self.policy, self.eval_policy = acting.collect, acting.evaluate
        # What an update learns about the steps it saw goes back to replay only where replay uses it.
        self._feeds_back = config.replay.sampler == "prioritised" or config.replay.keep_latents
        self.collector: Collector | recording.Recorded = recording.Recorded(config.num_envs)
        if self._env is not None:
            self.collector = Collector(
                self.policy,
                self._env,
                self.buffer,
                num_envs=num_envs,
                seed=seed,
                keep_latents=config.replay.keep_latents,
                counted=config.num_envs,
                gather=self.group.gather,
                steps=acting.steps,
            )
        # The longest last: what is compiled after it, on whichever thread, waits for it.
        batches = {phase: self._batch_shapes(size) for phase, size in self.schedule.batches.items()}
        self._updates.announce(shapes, batches, ahead, self.group.count * self.num_devices, self.logger.phase)
        self._shown: dict[str, float] = {}
        self._score: float | None = None
        self._evaluated = self._saved = -1  # the step of the last evaluation and checkpoint
        self._complete = False
        self._evaluation_pending = False  # the run was stopped during an evaluation that was due
        self._line_time = (time.monotonic(), 0, 0)
        self._start, self._save_seconds = time.monotonic(), 0.0
        self._begin(shapes)
        if self.group.leads:
            workdir.write_config(self.path, config)

    def _open(self) -> tuple[Adapter | None, EnvSpec]:
        """The environments and what they give and take; where there is a recording it takes their place and layout."""
        if self._recording is None:
            env = self._make_env(self._share.num_envs, self._share.seed)
            if self.config.schedule.steps_per_call > 1:
                engine_of(env, self.config.schedule.steps_per_call)
            return env, env.spec
        if self.group.count > 1:
            raise ConfigError(
                f"offline.replay={self.config.offline.replay!r} is not allowed: must be empty in a run of several processes"
            )
        spec, num_envs, size, _, _ = self._recording
        replay = dataclasses.replace(self.config.replay, capacity=num_envs * size, min_size=1)
        self._share = hosts.Share(num_envs, replay, self._share.seed)
        return None, spec

    def _make_env(self, num_envs: int, seed: int) -> Adapter:
        config = self.config.env
        with self._watchdog.over(lambda: f"{config.id}, being made"):
            env = make_env(config, num_envs, seed=seed)
        if not config.workers:  # which have limits of their own
            env.watch = self._watchdog.over
        return env

    def _warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def _give_up(self, reason: str) -> None:
        """Ends this process from the watchdog's thread; the environment has the main one."""
        print(f"error: {reason}. Last good checkpoint: {self.last_checkpoint() or 'none'}", file=sys.stderr)
        self.group.leave(1)

    def _make_logger(self) -> Logger | hosts.Silent:
        if not self.group.leads:
            return hosts.Silent()
        log = self.config.log
        return Logger(
            self.path, total_steps=self.config.total_steps, tensorboard=log.tensorboard, terminal_every=log.every
        )

    def _batch_shapes(self, size: int) -> Batch:
        return memory.batch_shapes(self.spec, size, self.config.batch_length, latents=self._latents)

    def _check_memory(self, shapes: Any) -> memory.Need:
        """What the run needs; refused before any of it is allocated where it cannot fit."""
        config = self.config
        replay = nbytes_for(
            self.spec,
            self._share.replay.capacity,
            num_envs=self._share.num_envs,
            latent_spec=recording.latent_spec(self._latents),
            promoted=True,
        )
        host = memory.host_available()
        memory.check_replay(replay, config.replay.capacity, host)
        activations = 0
        for phase, size in self.schedule.batches.items():
            batch = self._batch_shapes(size // self.group.count)
            activations = max(activations, self._updates.activation_bytes(phase, shapes, batch))
        needed = memory.need(shapes, activations=activations, replay=replay)
        device = memory.device_available()
        memory.check_device(needed, config.batch_size, on_host=device is None, available=device or host)
        return needed

    def _steps_left(self) -> bool:
        newest = checkpoint.latest(self.path)
        return newest is None or checkpoint.step_of(newest) < self.config.total_steps

    def _begin(self, shapes: Any) -> None:
        """The state to go on from: the newest intact checkpoint's, or a fresh one."""
        recorded, self._recording = self._recording, None  # its arrays are the buffer's soon
        if self.group.from_leader(checkpoint.latest(self.path) is None):
            if self._init_ready is not None:
                self._init_ready()
            state = self._init(jax.random.key(self.config.seed))
            if self._warm is not None:
                state = warm_start.apply(self._warm, state)
                self.logger.phase(f"{len(self._warm.taken)} parameters begin as in {self._warm.path}")
            self.state = devices.replicate(state, self.num_devices)
            self.collector.start()
            if recorded is not None:
                recorded.fill(self.buffer)
                self.logger.phase(f"learning from {recorded.steps:,} steps of {self.config.offline.replay}")
            return
        path, state, host, meta = checkpoint.restore_latest(self.path, shapes, self.group)
        self.state = devices.replicate(state, self.num_devices)
        self._segments.load(checkpoint.replay_folder(path, self.group.index), host["replay"])
        self.schedule.load_state_dict(host["schedule"])
        self.means.load_state_dict(host["means"])
        self.logger.load_state_dict(host["logger"])
        continued = self.collector.load_state_dict(host["collector"])
        self._score, self._complete = meta["score"], meta["complete"]
        self._evaluated, self._evaluation_pending = meta["evaluated"], meta["evaluation_pending"]
        self._saved = self.step
        self._line_time = (time.monotonic(), self.step, self.schedule.updates)
        self.logger.phase(f"going on from {path} at environment step {self.step:,}")
        if not continued:
            self.logger.phase(f"{self.config.env.id} cannot be saved: episodes that were under way begin anew")

    @property
    def step(self) -> int:
        """Environment steps so far, over all environments."""
        return self.collector.step

    def run(self) -> bool:
        """Trains to ``total_steps``, or until asked to stop; ends with an evaluation, a checkpoint and pictures.

        All of it waits for the collector's calls: ``total_steps`` is passed by less than the
        ``num_envs * schedule.steps_per_call`` environment steps of one.

        Returns:
            Whether the run is complete; False if it was stopped, with a checkpoint written.

        Raises:
            TrainError: a loss is not finite; the last good checkpoint is kept.
            CheckpointError: the last checkpoint could not be written.
        """
        config = self.config
        in_call = config.num_envs * config.schedule.steps_per_call
        if self._evaluation_pending:
            self._evaluation_pending = not self._evaluate()
        while self.step < config.total_steps and not self._stop():
            before, updates = self.step, self.schedule.updates
            self.collector.begin(self._acting())
            due = self.schedule.due(self.step + in_call)
            # While the device works; a long first call may be owed updates for steps that it is yet to bring.
            early = due and self.buffer.num_windows(config.batch_length)
            drawn = [self._draw(due[0].batch_size)] if early else []
            self.collector.finish()
            self._learn(due, drawn)
            self._log(updates)
            if crossed(before, self.step, config.eval.every):
                self._evaluation_pending = not self._evaluate()
            if crossed(before, self.step, config.checkpoint.every):
                self._save_or_warn()
            if crossed(before, self.step, config.log.dream_every):
                self._report()
        return self._finish()

    def _acting(self) -> Params | CollectingInputs:
        """What to collect with: the explorer in its phase, then the task's actor or planner."""
        if self.state.explorer is None:
            return self._acting_for_the_task()
        if self.step >= self.config.explore.steps:
            return CollectingInputs(self._acting_for_the_task(), None)
        return self._exploring(*devices.local((self.state.params, self.state.explorer.novelty)))

    def _exploring(self, params: Params, percentiles: NormalizerState) -> CollectingInputs:
        explore, rate = self.config.explore, self.config.ensemble.rate
        weights = disagreement_weights(percentiles, rate=rate, intrinsic=explore.intrinsic, extrinsic=explore.extrinsic)
        return CollectingInputs(explorer_params(params), weights)

    def _acting_for_the_task(self) -> Params:
        return devices.local(self.state.params)

    def _draw(self, batch_size: int) -> Drawn:
        size = batch_size // self.group.count  # this process's rows of the global batch
        batch, indices = self.buffer.sample(size, self.config.batch_length)
        batch = dataclasses.replace(batch, row=batch.row + np.int32(self.group.index * size))
        alone = self.config.schedule.updates_per_call == 1
        return devices.place(batch, self.num_devices) if alone else batch, indices

    def _learn(self, due: list[Due], drawn: list[Drawn]) -> None:
        """Takes the updates owed. The next batches are drawn while a call runs, never beyond those owed: what is drawn
        ahead would have to be saved.

        Args:
            drawn: the first batch, where any update is owed.
        """
        calls = in_calls(due, self.config.schedule.updates_per_call)
        update = self.schedule.updates + 1
        for i, call in enumerate(calls):
            drawn += [self._draw(call.batch_size) for _ in range(call.count - len(drawn))]
            self.state, metrics, outs = self._updates(call, self.state, [batch for batch, _ in drawn])
            places = [indices for _, indices in drawn]
            following = calls[i + 1] if i + 1 < len(calls) else None
            drawn = [self._draw(following.batch_size) for _ in range(following.count)] if following else []
            if self._feeds_back:
                for indices, out in zip(places, separate(outs, call.count), strict=True):
                    self._feed_back(indices, out)
            self.means.add(update, metrics)
            update += call.count
        self.schedule.take(due)

    def _feed_back(self, indices: Indices, outs: ReplayOuts) -> None:
        latents = jax.tree.map(np.asarray, outs.latents) if self.config.replay.keep_latents else None
        if not np.isfinite(outs.priority).all():
            self.means.fetch()  # names the bad update, which may end the run; what it says of its steps is not kept
            return
        self.buffer.update(indices, priority=np.asarray(outs.priority), latents=latents)

    def _log(self, updates_before: int) -> None:
        updates = self.schedule.updates
        if crossed(updates_before, updates, self.config.log.metrics_every):
            values = self.means.means() | self.collector.pop_episodes() | self._rates() | memory.statistics()
            self.means.clear()
            self.logger.metrics(self.step, updates, values)
            self._shown |= values
        self.logger.progress(self.step, updates, self._shown)

    def _rates(self) -> dict[str, float]:
        now, (then, step, updates) = time.monotonic(), self._line_time
        self._line_time = (now, self.step, self.schedule.updates)
        seconds = max(now - then, 1e-9)
        return {
            "time/env_steps_per_s": (self.step - step) / seconds,
            "time/updates_per_s": (self.schedule.updates - updates) / seconds,
            "time/save_share": self._save_share(),
            "replay/ratio": self.schedule.ratio(self.step) * self.config.batch_length,
            "replay/size": sum(self.group.gather(len(self.buffer))),
        }

    def _evaluate(self) -> bool:
        """Logs ``eval/<name>_mean`` and ``_stderr`` of the policy as it is; False where it is asked to stop."""
        self.means.fetch()  # a policy from a bad update is not measured
        if self._env is None:
            self._evaluated = self.step
            return True
        result = self.group.from_leader(self._play() if self.group.leads else None)
        if result is None:
            return False
        values = {f"eval/{name}_{key}": entry[key] for name, entry in result.items() for key in ("mean", "stderr")}
        self.logger.metrics(self.step, self.schedule.updates, values)
        shown = ", ".join(f"{name} {entry['mean']:.2f} ± {entry['stderr']:.2f}" for name, entry in result.items())
        self.logger.phase(f"evaluation at step {self.step:,}: {shown}")
        self._shown |= values
        self._score, self._evaluated = result["return"]["mean"], self.step
        return True

    def _play(self) -> dict[str, dict[str, Any]] | None:
        """What ``evaluate`` gives, of process 0: the others wait. None where this one is asked to stop."""
        config = self.config
        num_envs = min(config.eval.num_envs, config.eval.episodes)
        seed = evaluation_seed(config.seed)
        if self._eval_env is None:
            self._eval_env = self._make_env(num_envs, seed)
        self.logger.phase(f"evaluating {config.eval.episodes} episodes ...")
        return evaluate(
            self.eval_policy,
            self._acting_for_the_task(),
            self._eval_env,
            num_envs=num_envs,
            episodes=config.eval.episodes,
            greedy=config.eval.greedy,
            seed=seed,
            should_stop=self._asked,
        )

    def _save(self, logger_state: Any = None) -> Path:
        begin = time.monotonic()
        try:
            return self._write_checkpoint(logger_state)
        finally:
            memory.trim()  # what saving took for a moment goes back
            self._save_seconds += time.monotonic() - begin

    def _save_share(self) -> float:
        """Share of this process's time, since it was ready to train, that went into saving."""
        return self._save_seconds / max(time.monotonic() - self._start, 1e-9)

    def _write_checkpoint(self, logger_state: Any) -> Path:
        versions = {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax", "numpy")}
        host = {
            "replay": self.buffer.dump_rest(),
            "collector": self.collector.state_dict(),
            "schedule": self.schedule.state_dict(),
            "means": self.means.state_dict(),
            "logger": dict(logger_state or self.logger.state_dict()),
        }
        meta = {
            "update": self.schedule.updates,
            "score": self._score if self._evaluated == self.step else None,
            "evaluated": self._evaluated,
            "evaluation_pending": self._evaluation_pending,
            "complete": self._complete,
            "config": to_dict(self.config),
            "spec": recording.spec_to_dict(self.spec),
            "versions": versions,
        }
        keep, step = self.config.checkpoint.keep, self.step
        path = checkpoint.save(
            self.path, step, self.state, host, meta, keep=keep, replay=self._segments, group=self.group
        )
        self._saved = self.step
        return path

    def _save_or_warn(self) -> None:
        """A full disk now need not end the run: the next period tries again."""
        try:
            self._save()
        except CheckpointError as error:
            self.logger.phase(f"{error}; trying again later")

    def _finish(self) -> bool:
        if self._complete and self.step == self._saved:
            self.logger.phase(f"already complete: total_steps={self.config.total_steps:,}; raise it to go on")
            return True
        # Lines of the final report are not the run's: going on with more steps drops them.
        position = self.logger.state_dict()
        if self.step >= self.config.total_steps and not self._stop():
            means = self.means.means() | self.collector.peek_episodes()
            if means:
                self.logger.metrics(self.step, self.schedule.updates, means)
            if self._evaluated != self.step:
                self._evaluate()
            self._complete = self._evaluated == self.step
        path = self._save(position)
        self.logger.phase(f"saved {path}; saving took {100 * self._save_share():.2f} % of the time")
        if self._complete:
            self._report()
        return self._complete

    def _report(self) -> None:
        """Pictures and figures of what the world model predicts, beside what came."""
        from dreamjax.reporting.dreams import dream_report  # matplotlib and pillow take their time

        if not self.group.leads or self.buffer.num_windows(self.config.batch_length) == 0:
            return
        batch, _ = self.buffer.sample(min(8, self.config.batch_size), self.config.batch_length)
        context = min(5, self.config.batch_length - 1)
        params = devices.local(self.state.params)
        figures = dream_report(self.agent, params, batch, self.path / "media", context=context)
        for name, value in figures.items():
            self.logger.phase(f"{name}: {value:.4g}")
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        self.logger.metrics(self.step, self.schedule.updates, finite)

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint, to be named where a run fails."""
        return checkpoint.latest(self.path)

    def close(self) -> None:
        """Ends environments, closes files, gives the work directory free."""
        if self._env is not None:
            self._env.close()
        if self._eval_env is not None:
            self._eval_env.close()
        self._watchdog.close()
        self.logger.close()
        if self._lock is not None:
            self._lock.release()


__all__ = ["CheckpointError", "TrainError", "Trainer"]
