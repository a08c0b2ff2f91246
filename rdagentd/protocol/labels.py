"""Labels of the containers, volumes and images that belong to a run: how they are found again, by whoever looks."""

PREFIX = "rdagentd."
"""Labels that nobody else may give."""

WORKER = "rdagentd.worker"
RUN = "rdagentd.run"
ORIGIN = "rdagentd.origin"
"""`agent` on what an agent started by itself; the run's own container does not have it."""

AGENT = "agent"
