"""Shell scripts that count and wait without a fork: where a machine is emulated, one costs forty milliseconds."""

PATIENT = "exec 8<> <(:)"
"""Bash; from here on `read -rt SECONDS <&8` is a sleep that a trap interrupts, and that is no process."""

COUNTER = f"trap 'echo ended; exit 0' TERM; {PATIENT}; n=0; while :; do n=$((n+1)); echo $n; read -rt 0.5 <&8; done"
"""Bash; it ends gracefully, and what it printed shows whether a line is missing, doubled, or a second one of it ran."""
