"""Health: how it is asked whether a run is well, and what has been found."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Health(StrEnum):
    """What is known of a run. starting: it has not been well yet; none: it is not asked, or there is no run."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Check(StrEnum):
    """The two questions: is it well (else it is ended), and can it be used (else others wait)."""

    HEALTH = "health"
    READY = "ready"


class OnFailure(StrEnum):
    """What follows when a worker has become unhealthy. restart: its run is ended, and its restart policy decides."""

    RESTART = "restart"
    STOP = "stop"
    NONE = "none"


@frozen
class Probe:
    """One of: http (a URL), tcp ("127.0.0.1:6379"), exec (a command), notify, docker, progress (seconds); and how often.

    expect: HTTP status codes that are well; none: 200 to 399. interval, timeout, start_period: seconds; retries: failures in
    a row after which it is unhealthy. As in Docker, failures within start_period do not count before the first success.
    """

    http: str | None = None
    expect: tuple[int, ...] = ()
    tcp: str | None = None
    exec: tuple[str, ...] = ()
    notify: bool = False
    docker: bool = False
    progress: float | None = None
    interval: float = 30.0
    timeout: float = 10.0
    retries: int = 3
    start_period: float = 0.0

    @property
    def way(self) -> str | None:
        """Which of the six it is; None if nothing is asked."""
        return next((way for way in WAYS if getattr(self, way)), None)


@frozen
class HealthCheck(Probe):
    """How it is asked whether a run is well, and what follows if not. ready: how it is asked whether it can be used."""

    on_failure: OnFailure = OnFailure.RESTART
    ready: Probe | None = None

    def probe(self, check: Check) -> Probe | None:
        """How this is asked; None if it is not."""
        asked = self if check is Check.HEALTH else self.ready
        return asked if asked is not None and asked.way is not None else None


WAYS = ("http", "tcp", "exec", "notify", "docker", "progress")
