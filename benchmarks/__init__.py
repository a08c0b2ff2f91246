"""What rdagentd's speed is measured with, beside its peers and beside the bare limit of the machine."""
