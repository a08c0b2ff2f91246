"""Where the daemon logs to, and how nothing there can hold it up."""
