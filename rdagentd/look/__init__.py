"""What must be looked at as the worker's user: a small program of its own, stdlib only, started by the executor."""
