"""An environment in, a stream of records out: ``adapter`` for any Gymnasium environment, ``tetris`` for the flagship."""
