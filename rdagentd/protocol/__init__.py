"""What the daemon, its client and the executor share on the wire and on disk. msgpack and the stdlib only."""
