"""rdagentctl top. Pure: keys, rates, columns, board, pane, head, deeds, draw. Shell: host, signals, screen, app, batch."""
