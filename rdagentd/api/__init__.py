"""The control socket: one literal table of operations, and the server that answers."""
