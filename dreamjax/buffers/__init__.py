"""Replay of real steps on the host (``sequence_buffer``) and of imagined rollouts on the device."""
