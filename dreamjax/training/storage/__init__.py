"""What a run keeps on disk: work directory, checkpoints, recorded steps, shipped agents."""
