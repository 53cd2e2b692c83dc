"""Devices, processes, memory, signals and the watchdog of a run."""
