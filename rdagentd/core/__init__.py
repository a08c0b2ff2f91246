"""What should happen. Pure: events in, effects out; no clock, no I/O, no randomness of its own."""
