"""The thin loop: collect, update, log, checkpoint, evaluate. Everything that changes during a run lives here."""
