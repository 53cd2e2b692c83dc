"""What stays in a checkout: commands by their old names, benchmarks, baselines and published results."""
