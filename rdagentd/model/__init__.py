"""What things are: spec, limits, run, exit, worker. Frozen classes, no I/O."""
