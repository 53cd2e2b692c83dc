"""An environment in, a stream of records out: ``adapter`` takes any of Gymnasium, ``tetris`` is the flagship."""
