"""Reports of a run: terminal and metrics (``logger``), pictures of dreams, curves, accuracy of the world model."""
