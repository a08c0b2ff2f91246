"""The spec as a value."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.model.spec import LIVE_FIELDS, Limits, Restart, Spec

SECRET = "c2VjcmV0-value"


@given(st.dictionaries(st.text("ABC_", min_size=1), st.just(SECRET), min_size=1))
def test_the_repr_hides_the_environment(environment: dict[str, str]) -> None:
    spec = Spec("w", ("true",), environment=environment)
    assert SECRET not in f"{spec!r} {spec} {[spec]!r}"
    assert repr(spec) == "Spec('w', command=('true',))"


def test_a_spec_cannot_be_changed() -> None:
    spec = Spec("w", ("true",))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.name = "x"  # type: ignore[misc]
    assert attrs.evolve(spec, name="x").name == "x"
    assert spec.name == "w"


def test_equal_specs_are_equal_whatever_the_order_of_their_environment() -> None:
    one = Spec("w", ("true",), environment={"A": "1", "B": "2"})
    assert one == Spec("w", ("true",), environment={"B": "2", "A": "1"})
    assert one != Spec("w", ("true",), environment={"A": "1", "B": "3"})


def test_defaults_are_shared_and_environments_are_not() -> None:
    one, two = Spec("a", ("true",)), Spec("b", ("true",))
    assert one.restart is two.restart
    assert one.limits is two.limits
    assert one.environment is not two.environment


def test_live_fields_are_fields() -> None:
    assert {field.name for field in attrs.fields(Spec)} > LIVE_FIELDS


def test_a_worker_leaves_no_core_file_unless_asked() -> None:
    assert (Limits().core.soft, Limits().core.hard) == (0, 0)  # type: ignore[union-attr]
    assert all(getattr(Limits(), field.name) in (None, ()) for field in attrs.fields(Limits) if field.name != "core")


def test_sections_can_be_keys() -> None:
    assert len({Restart(), Restart(), Restart(delay=1.0)}) == 2
