"""The command line client of rdagentd."""
