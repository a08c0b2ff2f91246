"""The parent of every run: forks, limits, logs, reaps. Has no policy and must not crash. stdlib and msgpack only."""
