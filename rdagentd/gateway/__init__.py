"""HTTP, in a program of its own that has no right but to connect to the control socket."""
