"""One file for each command, with `run(client, arguments) -> exit code`; imported when it is typed."""
