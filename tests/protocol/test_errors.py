"""Errors on the wire."""

from __future__ import annotations

from rdagentd.protocol.errors import CODES, EXIT_FAILED, EXIT_OF_CODE, EXIT_OK, ProtocolError


def test_an_error_goes_to_the_wire_with_its_details() -> None:
    error = ProtocolError("not_found", "cannot stop 'x': no such worker", {"name": "x"})
    assert str(error) == "cannot stop 'x': no such worker"
    assert error.to_wire() == {
        "code": "not_found",
        "message": "cannot stop 'x': no such worker",
        "details": {"name": "x"},
    }


def test_details_are_never_shared() -> None:
    ProtocolError("invalid", "a").details["x"] = 1
    assert ProtocolError("invalid", "b").to_wire()["details"] == {}


def test_no_error_makes_the_client_succeed() -> None:
    assert set(EXIT_OF_CODE) <= set(CODES)
    assert all(EXIT_OF_CODE.get(code, EXIT_FAILED) != EXIT_OK for code in CODES)
