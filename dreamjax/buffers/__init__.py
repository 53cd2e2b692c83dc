"""Replay on the host (``sequence_buffer``, ``samplers``, ``columns``) and imagined rollouts on the device."""
