"""Commands (train, evaluate, ...) and one configuration file for each published result."""
