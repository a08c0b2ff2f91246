"""The host daemon for AI agents. Kept empty of imports: the client and the executor pay for every one."""

__version__ = "0.1.0"
