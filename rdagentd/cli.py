"""`rdagentd`: up, status, down, serve, executor, gateway, docker-proxy, egress, check. The composition root.

What a program needs is imported where it begins: the executor comes in by here too, and must stay small.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rdagentd import __version__

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a person must act before a new start makes sense."""


def main(argv: Sequence[str] | None = None) -> int:  # noqa: PLR0911
    """Runs the program that the arguments name; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["executor"]:  # no argument parser for it: it is small and stays small
        from rdagentd.executor.main import main as executor

        return executor(arguments[1:])
    if arguments[:1] == ["docker-proxy"]:
        from rdagentd.dockerproxy.main import main as docker_proxy

        return docker_proxy(arguments[1:])
    if arguments[:1] == ["egress"]:
        from rdagentd.egress import main as egress

        return egress(arguments[1:])
    if arguments[:1] == ["fetch"]:
        from rdagentd.fetch import main as fetch

        return fetch(arguments[1:])
    options = _parser().parse_args(arguments)
    if options.program == "check":
        return _check(options.config)
    if options.program == "at-stop":
        from rdagentd.systemd import at_stop

        return at_stop(str(options.socket))
    if options.program == "gateway":
        return _gateway(options)
    if options.program in ("status", "down"):
        return _standing(options.program, options.state_dir.absolute())
    return _serve(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rdagentd", description="The host daemon for AI agents.")
    parser.add_argument("--version", action="version", version=f"rdagentd {__version__}")
    programs = parser.add_subparsers(
        dest="program",
        required=True,
        metavar="up | status | down | serve | executor | gateway | docker-proxy | egress | fetch | check",
    )
    up = programs.add_parser("up", help="daemon and executor in the foreground, without systemd")
    up.add_argument("--state-dir", type=Path, required=True, help="everything it keeps goes here")
    up.add_argument("--socket", type=Path, help="control socket (default: rdagentd.sock in the state directory)")
    up.add_argument("--config", help="configuration file (default: none)")
    up.add_argument("--no-gateway", action="store_true", help="no HTTP, whatever the configuration says")
    up.add_argument("--detach", action="store_true", help="leave the terminal; return once it is ready")
    for name, what in (
        ("status", "whether an `up` runs there; exit codes of an init script"),
        ("down", "end it, and its workers"),
    ):
        programs.add_parser(name, help=what).add_argument("--state-dir", type=Path, required=True)
    serve = programs.add_parser("serve", help="the daemon alone, beside an executor that systemd started")
    serve.add_argument("--state-dir", type=Path, default=Path("/var/lib/rdagentd"))
    serve.add_argument("--log-dir", type=Path, default=Path("/var/log/rdagentd"))
    serve.add_argument("--socket", type=Path, default=Path("/run/rdagentd/rdagentd.sock"))
    serve.add_argument("--executor-socket", type=Path, default=Path("/run/rdagentd/executor.sock"))
    serve.add_argument("--executor-state-dir", type=Path, default=Path("/var/lib/rdagentd-executor"))
    serve.add_argument("--config", default="/etc/rdagentd/rdagentd.toml")
    gateway = programs.add_parser("gateway", help="HTTP: metrics, health, RD-Agent's API, the page")
    gateway.add_argument("--socket", type=Path, default=Path("/run/rdagentd/rdagentd.sock"), help="the daemon's")
    gateway.add_argument("--state-dir", type=Path, default=Path("/var/lib/rdagentd-gateway"))
    gateway.add_argument(
        "--runtime-dir", type=Path, default=Path("/run/rdagentd-gateway"), help="gateway.json goes here"
    )
    gateway.add_argument("--config", default="/etc/rdagentd/rdagentd.toml", help='"" for none')
    gateway.add_argument("--until-eof", action="store_true", help="leave when standard input ends")
    programs.add_parser("executor", help="the parent of all runs; see rdagentd executor --help")
    programs.add_parser("docker-proxy", help="the engine's socket for runs; see rdagentd docker-proxy --help")
    programs.add_parser("egress", help="rules for runs with few ports; see rdagentd egress --help")
    programs.add_parser("fetch", help="begins a run that files were uploaded for; not for people")
    at_stop = programs.add_parser("at-stop", help="for rdagentd.service: take the workers along if the unit is stopped")
    at_stop.add_argument("--socket", type=Path, default=Path("/run/rdagentd/rdagentd.sock"))
    check = programs.add_parser("check", help="read the configuration and workers.d, say what is wrong with them")
    check.add_argument("--config", default="/etc/rdagentd/rdagentd.toml")
    return parser


def _serve(options: argparse.Namespace) -> int:
    from rdagentd.journal import complain, start_logging

    for place in ("state_dir", "log_dir", "socket", "executor_socket", "executor_state_dir", "config"):
        if getattr(options, place, None) is not None:
            setattr(options, place, Path(getattr(options, place)).absolute())
    if not getattr(options, "detach", False):
        start_logging()
        code, text = _run(options, lambda: None)
    else:
        from rdagentd.detach import detached

        code, text = detached(options.state_dir, lambda ready: _run_detached(options, ready))
    if text:
        complain(text)
    return code


def _run_detached(options: argparse.Namespace, ready: Callable[[], None]) -> tuple[int, str]:
    from rdagentd.journal import complain, start_logging

    start_logging()
    code, text = _run(options, ready)
    if text:
        complain(text)  # into its log; whoever started it says it again
    return code, text


def _run(options: argparse.Namespace, ready: Callable[[], None]) -> tuple[int, str]:
    """The daemon's life: its exit code, and a sentence if it could not start."""
    import asyncio

    from rdagentd.config.problems import ConfigError
    from rdagentd.daemon import Host, Options, StartError, dump_no_core, raise_descriptor_limit
    from rdagentd.outputs.sinks import LogError
    from rdagentd.store.errors import Damaged, NewerSchema, StoreError
    from rdagentd.systemd import turn_away

    state, up = options.state_dir, options.program == "up"
    executor_socket = state / "executor.sock" if up else options.executor_socket
    logs = state / "logs" if up else options.log_dir
    socket = options.socket or state / "rdagentd.sock"
    chosen = Options(
        state=state,
        logs=logs,
        socket=socket,
        executor_socket=executor_socket,
        config=None if options.config is None else str(options.config),
        workers=(state if up else options.executor_state_dir) / "workers",
        launch=_launcher(state, logs, executor_socket) if up else None,
        ready=ready,
        gateway=_gateway_command(options, socket) if up and not options.no_gateway else (),
    )

    async def run() -> None:
        await Host(chosen).run()

    try:
        raise_descriptor_limit()
        dump_no_core()
        asyncio.run(run())
    except (ConfigError, LogError, Damaged, NewerSchema) as error:
        turn_away(str(error))
        return EXIT_CONFIG, str(error)
    except (StartError, StoreError) as error:
        return 1, str(error)
    return 0, ""


def _launcher(state: Path, logs: Path, path: Path) -> Callable[[], None]:
    """Starts an executor in a session of its own, so that it outlives us."""
    import subprocess

    children: list[subprocess.Popen[bytes]] = []

    def launch() -> None:
        children[:] = [child for child in children if child.poll() is None]
        if children:
            return  # it is on its way
        places = ("--state-dir", str(state), "--log-dir", str(logs), "--socket", str(path))
        command = [sys.executable, "-m", "rdagentd.executor", *places]
        environ = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}  # we are the unit
        with (state / "executor.log").open("ab") as errors:
            children.append(
                subprocess.Popen(  # noqa: S603
                    command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                    start_new_session=True, cwd="/", env=environ,
                )
            )  # fmt: skip

    return launch


def _gateway_command(options: argparse.Namespace, socket: Path) -> tuple[str, ...]:
    """All that it keeps and tells is in the state directory, too."""
    state = options.state_dir
    places = (
        "--socket",
        socket,
        "--state-dir",
        state / "gateway",
        "--runtime-dir",
        state,
        "--config",
        options.config or "",
    )
    return (sys.executable, "-m", "rdagentd", "gateway", "--until-eof", *map(str, places))


def _gateway(options: argparse.Namespace) -> int:
    from rdagentd.journal import complain, start_logging

    try:
        import aiohttp  # noqa: F401
        import prometheus_client  # noqa: F401
    except ImportError as error:
        complain(f"cannot serve HTTP: {error}; install python3-aiohttp and python3-prometheus-client")
        return 1
    from rdagentd.config.problems import ConfigError
    from rdagentd.gateway.listening import ListenError
    from rdagentd.gateway.main import main as gateway
    from rdagentd.gateway.settings import load_settings

    start_logging("rdagentd-gateway")
    places = (options.socket.absolute(), options.state_dir.absolute(), options.runtime_dir.absolute())
    try:
        gateway(load_settings(*places, options.config or None), until_eof=options.until_eof)
    except ConfigError as error:
        complain(str(error))
        return EXIT_CONFIG
    except ListenError as error:
        complain(str(error))
        return 1
    return 0


def _standing(program: str, state: Path) -> int:
    from rdagentd import pidfile

    found = pidfile.end(state) if program == "down" else pidfile.standing(state)
    print(found.text)  # noqa: T201
    if found.code == pidfile.RUNNING:
        from rdagentd.gateway.listening import told

        for url in told(state)[:1]:
            print(f"its page: {url}")  # noqa: T201
    if program == "status":
        return found.code
    return 0 if found.code in (pidfile.NOT_RUNNING, pidfile.DEAD) else 1


def _check(config: str) -> int:
    from rdagentd.config.config import load_config
    from rdagentd.config.problems import ConfigError
    from rdagentd.config.profiles import load_profiles, profile_directories
    from rdagentd.config.workers import load_workers
    from rdagentd.journal import complain

    try:
        loaded = load_config(config)
        profiles = load_profiles(profile_directories(config))
        beside = Path(config).parent / "workers.d"
        directory = loaded.config.workers_dir or (str(beside) if beside.is_dir() else None)
        specs = load_workers(directory, profiles) if directory else []
    except ConfigError as error:
        complain(str(error))
        return EXIT_CONFIG
    print(f"ok: {config}, {len(specs)} workers")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
