"""What a run tells: terminal, ``metrics.jsonl``, TensorBoard, pictures of boards and dreams."""
