"""What people write about isolation, and what is refused."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from rdagentd.config.spec import decode_spec, encode_spec
from rdagentd.model.isolation import PRESETS, Isolation, Preset

from .reading import decode, refusal

STRICT = Isolation(Preset.STRICT, **PRESETS[Preset.STRICT])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("none", Isolation()), ({}, Isolation()), ({"preset": "none"}, Isolation()),
        ("strict", STRICT), ({"preset": "strict"}, STRICT),
        ({"preset": "strict", "network": True}, attrs.evolve(STRICT, network=True)),
        ({"preset": "strict", "read_write": ["/data"]}, attrs.evolve(STRICT, read_write=("/data",))),
        ({"private_tmp": True}, Isolation(private_tmp=True, no_new_privileges=True)),
        ({"preset": "strict", "network": True, "egress": [443, 22, 443]},
         attrs.evolve(STRICT, network=True, egress=(22, 443))),
        ({"network": False}, Isolation(network=False, no_new_privileges=True)),
        ({"no_new_privileges": True}, Isolation(no_new_privileges=True)),
    ],
)  # fmt: skip
def test_a_preset_is_where_the_fields_begin(written: Any, meant: Isolation) -> None:
    spec = decode(isolation=written)
    assert spec.isolation == meant
    assert decode_spec(encode_spec(spec)) == spec


def test_strict_leaves_no_field_as_it_is_without() -> None:
    kept = {field.name for field in attrs.fields(Isolation) if getattr(STRICT, field.name) == field.default}
    assert kept == {"egress", "read_only", "read_write"}


@pytest.mark.parametrize(
    ("written", "key", "reason"),
    [
        ("strikt", "isolation.preset", "did you mean strict?"),
        ({"private_tmp": "yes"}, "isolation.private_tmp", "true or false"),
        ({"read_only": ["data"]}, "isolation.read_only[0]", "relative"),
        ({"read_only": ["/a", "/b"], "read_write": ["/b"]}, "isolation.read_only", "/b also stands in read_write"),
        ({"preset": "strict", "egress": [443]}, "isolation.egress", "needs network = true"),
        ({"egress": [443]}, "isolation.egress", "needs hidden_run = true"),
        ({"hidden_run": True, "egress": []}, "isolation.egress", "for no network write network = false"),
        ({"hidden_run": True, "egress": [0]}, "isolation.egress[0]", "out of range"),
        ({"protect_home": True}, "isolation.protect_home", "did you mean hidden_home?"),
        ({"network": False, "no_new_privileges": False}, "isolation.no_new_privileges", "gains no privileges either"),
    ],
)
def test_what_cannot_be_is_refused_by_name(written: Any, key: str, reason: str) -> None:
    (told,) = refusal(isolation=written)
    assert told.startswith(f"{key}: ") and reason in told


def test_a_container_is_not_isolated_a_second_time() -> None:
    (told,) = refusal(container={"image": "i"}, isolation="strict")
    assert told.startswith("isolation: is for processes")
    assert decode(container={"image": "i"}, isolation="none").isolation == Isolation()
