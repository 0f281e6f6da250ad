"""Queue, store, workers, leader election: the engine, without domain words."""
