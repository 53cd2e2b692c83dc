"""The loop: collect, update, log, evaluate, checkpoint. It drives everything that changes."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dreamjax.agents.agent import make_agent
from dreamjax.algorithms.exploration import explorer_params
from dreamjax.algorithms.planning.model import disagreement_weights
from dreamjax.buffers.sequence_buffer import Indices
from dreamjax.config import Config, to_dict
from dreamjax.reporting.report import leave_report
from dreamjax.training import build
from dreamjax.training.collection.acting import CollectingInputs, make_acting
from dreamjax.training.collection.collector import Collector
from dreamjax.training.evaluation.evaluations import Evaluations
from dreamjax.training.evaluation.evaluator import describe
from dreamjax.training.metrics import MetricMeans, RunClock, TrainError
from dreamjax.training.progress import Progress
from dreamjax.training.runtime import devices, hosts, memory
from dreamjax.training.runtime.background_compiler import BackgroundCompiler
from dreamjax.training.runtime.stop import Stop
from dreamjax.training.runtime.watchdog import Watchdog
from dreamjax.training.schedule import Pending, crossed, make_schedule
from dreamjax.training.storage import checkpoint, recording, trained, warm_start, workdir
from dreamjax.training.storage.checkpoint import CheckpointError
from dreamjax.training.storage.segments import Segments
from dreamjax.training.updates import Updates, chunk_updates, unstack
from dreamjax.types import Batch, NormalizerState, Params, ReplayOuts

LOG = logging.getLogger(__name__)
Drawn = tuple[Batch, Indices]


class Trainer:
    """One run of a configuration in a work directory.

    Making it validates everything, logs what will run, and restores the newest intact checkpoint where there is one;
    nothing in the directory is changed before all of that holds. ``run`` then trains.

    Args:
        config: of the run. path: the work directory.
        resume: "auto" continues where there is a run, "never" refuses to, "must" refuses to start.
        stop: called between steps; True writes a checkpoint and ends the run.

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
        self._stop_here = stop or Stop()
        self._stop = self.group.any_process(self._stop_here)

        # What may refuse the run comes first, and changes nothing in the directory.
        if self.group.is_primary:
            workdir.check(path, config, resume)
        self.config = config = workdir.as_begun(config, path)
        self.num_devices = devices.device_count(config.parallel.num_devices)
        self.schedule = make_schedule(config)
        hosts.check_layout(config, self.group, self.num_devices)
        self._watchdog = Watchdog(patience=config.env.warn_after, limit=config.env.abort_after, end=self._abort)
        begun = trained.read(self.path)
        self._source = build.open_source(config, self.group, self._watchdog, begun)
        self.spec = self._source.spec
        self._trained_in = trained.TrainedIn(self.spec, (begun and begun.spaces) or self._source.spaces)
        self._evaluations: Evaluations | None = None
        self._newest: Path | None = None  # checkpoint that this process has written
        self.agent = make_agent(config, self.spec)
        fresh = self.group.broadcast(checkpoint.latest(self.path) is None)
        # On one device the programs are compiled while the rest of the run is built.
        compiler = BackgroundCompiler(self.num_devices == self.group.count == 1 and self._steps_left())
        init = devices.jit_once(self.agent.init)
        shapes = jax.eval_shape(init, jax.random.key(config.seed))
        wait_for_init = compiler.submit(init, jax.random.key(config.seed)) if fresh else None
        self.updates = Updates(self.agent, config, self.schedule.batches, self.num_devices)
        latents = recording.kept_latents(config.replay, self.agent.world_model)
        needed = build.check_memory(
            config, self.group, self._source, self.schedule, self.updates, shapes, latents=latents
        )
        warm = warm_start.read(config.init_from, shapes.params) if fresh else None
        self.buffer = build.make_buffer(self._source, latents=latents)
        self._segments = Segments(self.buffer)

        # From here on the directory belongs to this run.
        self._lock = workdir.Lock(self.path) if self.group.is_primary else None
        if self.group.is_primary:
            workdir.check(path, config, resume)  # again, now that nobody else can write
        hosts.check_shared(self.path, self.group)
        self.logger = build.make_logger(config, self.path, self.group)
        self.means = MetricMeans(skip=config.optimizer.skip_nonfinite)
        LOG.info(memory.report(memory.parameter_count(shapes.params), needed))
        inputs = shapes.params
        if shapes.explorer is not None:
            inputs = jax.eval_shape(self._exploring, shapes.params, shapes.explorer.novelty)
        self._acting = make_acting(self.agent, config, self._source.env, inputs, compiler)
        self.collector = build.make_collector(
            config, self.group, self._source, self.buffer, self._acting.collect, self._acting.steps
        )
        if isinstance(self.collector, Collector) and config.eval.episodes:
            self._evaluations = Evaluations(
                config,
                self._acting.evaluate,
                open_env=lambda num, seed: build.open_environments(config, num, seed, self._watchdog, self.spec),
                lend=self.collector.lend,
                num_envs=self._source.share.num_envs,
                should_stop=self._stop_here,
            )
        # The longest program last: what is compiled after it, on whichever thread, waits for it.
        batches = build.update_shapes(config, self.spec, self.schedule, latents=latents)
        self.updates.compile(shapes, batches, compiler, self.group.count * self.num_devices)
        self.progress, self.clock = Progress(), RunClock()
        self._shown: dict[str, float] = {}
        if fresh:
            if wait_for_init is not None:
                wait_for_init()
            self._start(init(jax.random.key(config.seed)), warm)
        else:
            self._restore(shapes)
        self._source = self._source._replace(saved=None)  # its arrays are the buffer's now
        if self.group.is_primary:
            workdir.write_config(self.path, config)

    def _start(self, state: Any, warm: warm_start.WarmStart | None) -> None:
        """Begins the run with a fresh state."""
        if warm is not None:
            state = warm_start.apply(warm, state)
            LOG.info(f"{len(warm.taken)} parameters begin as in {warm.path}")
        self.state = devices.replicate(state, self.num_devices)
        self.collector.start()
        if self._source.saved is not None:
            self._source.saved.fill(self.buffer)
            LOG.info(f"learning from {self._source.saved.steps:,} steps of {self.config.offline.replay}")

    def _restore(self, shapes: Any) -> None:
        """Continues from the newest intact checkpoint."""
        path, state, host, meta = checkpoint.restore_latest(self.path, shapes, self.group)
        self.state = devices.replicate(state, self.num_devices)
        self._segments.load(checkpoint.replay_folder(path, self.group.index), host["replay"])
        self.schedule.load_state_dict(host["schedule"])
        self.means.load_state_dict(host["means"])
        self.logger.load_state_dict(host["logger"])
        continued = self.collector.load_state_dict(host["collector"])
        self.progress = Progress.from_meta(meta, self.step)
        self.clock.restart(self.step, self.schedule.updates)
        LOG.info(f"going on from {path} at environment step {self.step:,}")
        if not continued:
            LOG.info(f"{self.config.env.id} cannot be saved: unfinished episodes start over")

    @property
    def step(self) -> int:
        """Environment steps so far, over all environments."""
        return self.collector.step

    def run(self) -> bool:
        """Trains to ``total_steps``, or until asked to stop; ends with an evaluation, a checkpoint and pictures.

        ``total_steps`` is passed by less than the ``num_envs * schedule.steps_per_call`` environment steps of one call of
        the collector.

        Returns:
            Whether the run is complete; False if it was stopped, with a checkpoint written.

        Raises:
            TrainError: a loss is not finite; the last good checkpoint is kept.
            CheckpointError: the last checkpoint could not be written.
        """
        config = self.config
        steps_per_call = config.num_envs * config.schedule.steps_per_call
        if self.progress.evaluation_pending:
            self._evaluate_between()
        while self.step < config.total_steps and not self._stop():
            step, updates = self.step, self.schedule.updates
            # The first batch is drawn while the device chooses actions, if replay holds a whole window by then.
            self.collector.begin(self._collecting_inputs())
            pending = self.schedule.pending(step + steps_per_call)
            ready = pending and self.buffer.num_windows(config.batch_length)
            drawn = [self._draw(pending[0].batch_size)] if ready else []
            self.collector.finish()
            self._update(pending, drawn)
            if crossed(updates, self.schedule.updates, config.log.metrics_every):
                self._log_metrics()
            self.logger.progress(self.step, self.schedule.updates, self._shown)
            if self._evaluations is not None and crossed(step, self.step, config.eval.every):
                self._evaluate_between()
            if crossed(step, self.step, config.checkpoint.every):
                self._save_or_warn()
            if crossed(step, self.step, config.log.dream_every):
                self._report()
        return self._finish()

    # Collect and update.

    def _collecting_inputs(self) -> Params | CollectingInputs:
        """What to collect with: the explorer in its phase, then the task's actor or planner."""
        if self.state.explorer is None:
            return self._task_params()
        if self.step >= self.config.explore.steps:
            return CollectingInputs(self._task_params(), None)
        return self._exploring(*devices.local((self.state.params, self.state.explorer.novelty)))

    def _exploring(self, params: Params, percentiles: NormalizerState) -> CollectingInputs:
        explore, rate = self.config.explore, self.config.ensemble.rate
        weights = disagreement_weights(percentiles, rate=rate, intrinsic=explore.intrinsic, extrinsic=explore.extrinsic)
        return CollectingInputs(explorer_params(params), weights)

    def _task_params(self) -> Params:
        return devices.local(self.state.params)

    def _draw(self, batch_size: int) -> Drawn:
        size = batch_size // self.group.count  # this process's rows of the global batch
        batch, indices = self.buffer.sample(size, self.config.batch_length)
        batch = dataclasses.replace(batch, row=batch.row + np.int32(self.group.index * size))
        single = self.config.schedule.updates_per_call == 1
        return devices.place(batch, self.num_devices) if single else batch, indices

    def _update(self, pending: list[Pending], drawn: list[Drawn]) -> None:
        """Makes the pending updates. The batches of the next call are drawn while one runs, but never more than are
        pending: batches drawn ahead would have to be saved.

        Args:
            drawn: the first batch, or none.
        """
        calls = chunk_updates(pending, self.config.schedule.updates_per_call)
        update = self.schedule.updates + 1
        for i, call in enumerate(calls):
            drawn += [self._draw(call.batch_size) for _ in range(call.count - len(drawn))]
            batches, places = [batch for batch, _ in drawn], [indices for _, indices in drawn]
            self.state, metrics, outs = self.updates(call, self.state, batches)
            following = calls[i + 1] if i + 1 < len(calls) else None
            drawn = [self._draw(following.batch_size) for _ in range(following.count)] if following else []
            self._feed_back(places, outs)
            self.means.add(update, metrics)
            update += call.count
        self.schedule.mark_done(pending)

    def _feed_back(self, places: list[Indices], outs: ReplayOuts) -> None:
        """Priorities and latents of the windows at ``places``, to replay where it uses them."""
        keep_latents = self.config.replay.keep_latents
        if self.config.replay.sampler != "prioritized" and not keep_latents:
            return
        for indices, out in zip(places, unstack(outs, len(places)), strict=True):
            if not np.isfinite(out.priority).all():
                self.means.fetch()  # names the bad update, which may end the run; its priorities are not used
                continue
            latents = jax.tree.map(np.asarray, out.latents) if keep_latents else None
            self.buffer.update(indices, priority=np.asarray(out.priority), latents=latents)

    # Log, evaluate, report.

    def _log_metrics(self) -> None:
        step, updates = self.step, self.schedule.updates
        values = self.means.means() | self.collector.pop_episodes()
        values |= self.clock.rates(step, updates)
        values["replay/ratio"] = self.schedule.ratio(step) * self.config.batch_length
        values["replay/size"] = sum(self.group.gather(len(self.buffer)))
        values |= memory.statistics()
        self.means.clear()
        self.logger.metrics(step, updates, values)
        self._shown |= values

    def _evaluate_between(self) -> None:
        """A periodic evaluation, after a checkpoint: whatever happens in it, no step is lost."""
        self.means.fetch()  # a policy from a bad update is not measured
        self.progress.evaluation_pending = True
        self._save_unsaved()
        self.progress.evaluation_pending = not self._evaluate()

    def _evaluate(self) -> bool:
        """Logs ``eval/<name>_mean`` and ``_stderr`` of the policy as it is; False where the run is stopped meanwhile."""
        result = None
        if self._evaluations is not None and self.group.is_primary:
            result = self._evaluations.play(self._task_params())
        result = self.group.broadcast(result) if self._evaluations is not None else {}
        if result is None:
            return False
        self.progress.score, self.progress.evaluated = None, self.step
        if not result:
            self._end_evaluations()
            return True
        values = {f"eval/{name}_{key}": entry[key] for name, entry in result.items() for key in ("mean", "stderr")}
        self.logger.metrics(self.step, self.schedule.updates, values)
        LOG.info(f"evaluation at step {self.step:,}: {describe(result, self.config.eval.max_length)}")
        self._shown |= values
        self.progress.score = result["return"]["mean"]
        return True

    def _end_evaluations(self) -> None:
        if self._evaluations is not None:
            self._evaluations.close()
        self._evaluations = None

    def _report(self) -> None:
        """Pictures and figures of the world model's predictions next to what happened."""
        from dreamjax.reporting.dreams import dream_report  # matplotlib and pillow take long to import

        if not self.group.is_primary or self.buffer.num_windows(self.config.batch_length) == 0:
            return
        batch, _ = self.buffer.sample(min(8, self.config.batch_size), self.config.batch_length)
        context = min(5, self.config.batch_length - 1)
        params = devices.local(self.state.params)
        figures = dream_report(self.agent, params, batch, self.path / "media", context=context)
        for name, value in figures.items():
            LOG.info(f"{name}: {value:.4g}")
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        self.logger.metrics(self.step, self.schedule.updates, finite)

    # Checkpoint and end.

    def _save(self, position: Any = None) -> Path:
        """Writes a checkpoint; ``position`` of the logger if it is not the current one."""
        with self.clock.saving():
            try:
                return self._write_checkpoint(position or self.logger.state_dict())
            finally:
                memory.trim()  # returns what saving took for a moment

    def _write_checkpoint(self, position: Any) -> Path:
        host = {
            "replay": self.buffer.dump_rest(),
            "collector": self.collector.state_dict(),
            "schedule": self.schedule.state_dict(),
            "means": self.means.state_dict(),
            "logger": dict(position),
        }
        meta = {"update": self.schedule.updates} | self.progress.to_meta(self.step)
        meta |= {"config": to_dict(self.config)} | self._trained_in.to_meta()
        meta["versions"] = {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax", "numpy")}
        before = self._newest if self.progress.saved == self.step == self.progress.evaluated else None
        more: dict[str, Any] = {"keep": self.config.checkpoint.keep, "group": self.group, "replaces": before}
        path = checkpoint.save(self.path, self.step, self.state, host, meta, replay=self._segments, **more)
        self.progress.saved, self._newest = self.step, path
        return path

    def _save_or_warn(self, position: Any = None) -> None:
        """A full disk now need not end the run: the next period tries again."""
        try:
            self._save(position)
        except CheckpointError as error:
            LOG.info(f"{error}; trying again later")

    def _save_unsaved(self, position: Any = None) -> None:
        """Before what may fail or hang: saves unless nothing was collected since the last checkpoint."""
        if self.progress.saved != self.step:
            self._save_or_warn(position)

    def _finish(self) -> bool:
        """The last evaluation, checkpoint and pictures; whether the run is complete."""
        if self.progress.complete and self.step == self.progress.saved:
            LOG.info(f"already complete: total_steps={self.config.total_steps:,}; raise it to go on")
            return True
        # Lines of the final report are not the run's: continuing with more steps drops them.
        position = self.logger.state_dict()
        stopped = self.progress.evaluation_pending  # within an evaluation, which had a checkpoint before it
        if self.step >= self.config.total_steps and not self._stop():
            means = self.means.means() | self.collector.peek_episodes()
            if means:
                self.logger.metrics(self.step, self.schedule.updates, means)
            if self.progress.evaluated != self.step:
                if self._evaluations is not None:
                    self._save_unsaved(position)
                stopped = not self._evaluate()
            self.progress.complete = self.progress.evaluated == self.step
        if not (stopped and self.progress.saved == self.step):
            LOG.info(f"saved {self._save(position)}")
        LOG.info(f"saving took {100 * self.clock.save_share:.2f} % of the time")
        if self.progress.complete:
            self._report()
            if self.group.is_primary:
                leave_report(self.path, self.config)
        return self.progress.complete

    def _steps_left(self) -> bool:
        newest = checkpoint.latest(self.path)
        return newest is None or checkpoint.step_of(newest) < self.config.total_steps

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint, to be named where a run fails."""
        return checkpoint.latest(self.path)

    def _abort(self, reason: str) -> None:
        """Ends this process from the watchdog's thread: the main thread hangs in an environment."""
        LOG.error(f"{reason}. Last good checkpoint: {self.last_checkpoint() or 'none'}")
        self.group.abort(1)

    def close(self) -> None:
        """Closes environments and files, releases the work directory's lock."""
        if self._source.env is not None:
            self._source.env.close()
        self._end_evaluations()
        self._watchdog.close()
        self.logger.close()
        if self._lock is not None:
            self._lock.release()


__all__ = ["CheckpointError", "TrainError", "Trainer"]
