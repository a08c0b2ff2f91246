"""A database damaged at any byte: it opens with what it held, or is set aside unchanged. Never a lie, never silently empty."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve, frozen

from rdagentd.model.worker import Worker
from rdagentd.store.store import BadRow, Damaged, Loaded, NewerSchema, Store, StoreError
from rdagentd.store.writes import SaveRun, SaveWorker

from .values import a_run, a_worker, an_event, saves

WORKERS = tuple(a_worker(f"w{number:02d}", a_run(number, f"w{number:02d}")) for number in range(40))
STEPS = 30
"""Commits that are only in the WAL: step n sets `attempt` of every worker to n."""


def step(number: int) -> list[Worker]:
    return [evolve(worker, attempt=number) for worker in WORKERS]


@frozen
class Template:
    """A database as it lies on the disk after a clean end (no WAL) or after a kill (with a WAL)."""

    files: dict[str, bytes]

    def put(self, directory: Path) -> str:
        for suffix, data in self.files.items():
            (directory / f"state.db{suffix}").write_bytes(data)
        return str(directory / "state.db")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    path = tmp_path_factory.mktemp("template") / "state.db"
    store = Store(str(path))
    store.open()
    for worker in WORKERS:
        store.commit([*saves(worker), an_event(worker=worker.name, text="x" * 50)])
    store.close()
    clean = Template({"": path.read_bytes()})
    store = Store(str(path))
    store.open()
    for number in range(1, STEPS + 1):
        store.commit([*(SaveWorker(worker) for worker in step(number)), SaveRun(a_run(99))]).result()
    killed = Template({suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")})
    store.close()
    return {"clean": clean, "killed": killed}


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "arena"
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


def outcome(path: str) -> Loaded | StoreError:
    """What open makes of it. Another exception is a failure of the test."""
    store = Store(path)
    try:
        return store.open()
    except StoreError as error:
        return error
    finally:
        store.close()


def check(path: str, before: dict[str, bytes], steps: range) -> str:
    """Judge one damaged database; what became of it."""
    found = outcome(path)
    if isinstance(found, Loaded):
        assert_true(found, steps)
        return "loaded"
    if isinstance(found, Damaged):
        aside = str(found).split("unchanged, to ")[1].split(";")[0]
        assert {suffix: Path(aside + suffix).read_bytes() for suffix in before} == before
        assert not Path(path).exists()
        return "set aside"
    left = {suffix: Path(path + suffix).read_bytes() for suffix in before}
    assert left == before
    assert isinstance(found, NewerSchema) or "another program" in str(found)
    return "refused"


def assert_true(loaded: Loaded, steps: range) -> None:
    """Everything is told, and as it once was: all as of one step, but for rows that are told to be bad."""
    assert len(loaded.workers) + len(loaded.bad) == len(WORKERS)
    assert len({worker.attempt for worker in loaded.workers}) == 1
    number = loaded.workers[0].attempt
    assert number in steps
    expected = {worker.name: worker for worker in step(number)}
    for worker in loaded.workers:
        assert worker == expected[worker.name]
    assert len(loaded.bad) <= 1
    assert all(isinstance(row, BadRow) and row.reason.startswith("cannot ") for row in loaded.bad)


def flip(data: bytes, place: int, dice: random.Random) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]


def overwrite(data: bytes, place: int, dice: random.Random) -> bytes:
    """A sector that holds something else."""
    start = place - place % 512
    return data[:start] + dice.choice((bytes(512), dice.randbytes(512))) + data[start + 512 :]


def many(arena: Path, template: Template, suffix: str, damage: Callable[[bytes], bytes], steps: range) -> str:
    damaged = Template({**template.files, suffix: damage(template.files[suffix])})
    for each in arena.iterdir():
        each.unlink()
    return check(damaged.put(arena), damaged.files, steps)


@pytest.mark.parametrize("change", [flip, overwrite])
def test_damage_in_the_database(
    templates: dict[str, Template],
    arena: Path,
    dice: random.Random,
    change: Callable[[bytes, int, random.Random], bytes],
) -> None:
    size = len(templates["clean"].files[""])
    places = [*range(112), *(dice.randrange(size) for _ in range(250))] if change is flip else range(0, size, 512)
    seen = {
        many(arena, templates["clean"], "", lambda data, at=place: change(data, at, dice), range(1))  # type: ignore[misc]
        for place in places
    }
    assert {"loaded", "set aside"} <= seen


def test_a_truncated_database(templates: dict[str, Template], arena: Path, dice: random.Random) -> None:
    size = len(templates["clean"].files[""])
    for length in [
        0,
        1,
        99,
        100,
        511,
        512,
        4095,
        4096,
        size - 1,
        size - 4096,
        *(dice.randrange(size) for _ in range(30)),
    ]:
        found = many(arena, templates["clean"], "", lambda data, at=length: data[:at], range(1))  # type: ignore[misc]
        assert found == "set aside" or length > size - 4096


def test_a_flipped_bit_in_the_wal(templates: dict[str, Template], arena: Path, dice: random.Random) -> None:
    """One commit may be taken for the one that a crash tore, two if the flip hits what marks the last but one."""
    size = len(templates["killed"].files["-wal"])
    places = [*range(32), *(dice.randrange(size) for _ in range(150))]
    seen = {
        many(
            arena,
            templates["killed"],
            "-wal",
            lambda data, at=place: flip(data, at, dice),  # type: ignore[misc]
            range(STEPS - 2, STEPS + 1),
        )
        for place in places
    }
    assert "set aside" in seen


def test_a_truncated_wal_is_some_earlier_time(templates: dict[str, Template], arena: Path, dice: random.Random) -> None:
    """Nobody can tell it from a crash at that time; what it leads to must be a state that there was."""
    size = len(templates["killed"].files["-wal"])
    for length in [0, 31, 32, *(dice.randrange(size) for _ in range(40))]:
        found = many(arena, templates["killed"], "-wal", lambda data, at=length: data[:at], range(STEPS + 1))  # type: ignore[misc]
        assert found == "loaded"


def test_a_killed_database_opens_with_all(templates: dict[str, Template], arena: Path) -> None:
    assert check(templates["killed"].put(arena), templates["killed"].files, range(STEPS, STEPS + 1)) == "loaded"
