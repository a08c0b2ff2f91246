"""Names of uploads: as werkzeug makes them safe, and nothing that Python would run."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdagentd.gateway.rdagent.filenames import safe_name, secured


@pytest.mark.parametrize(
    ("given_", "name"),
    [
        ("My cool movie.mov", "My_cool_movie.mov"),  # these four: the documentation of werkzeug.utils.secure_filename
        ("../../../etc/passwd", "etc_passwd"),
        ("i contain cool \xfcml\xe4uts.txt", "i_contain_cool_umlauts.txt"),
        ("..", ""),
        ("/etc/x.pdf", "etc_x.pdf"),
        ("a\\b.pdf", "ab.pdf"),
        (".hidden", "hidden"),
        ("a\0b\nc", "ab_c"),
    ],
)
def test_it_is_as_werkzeug_has_it(given_: str, name: str) -> None:
    assert secured(given_) == name


@given(st.text())
def test_whatever_is_given_the_name_is_one_plain_name(given_: str) -> None:
    assert re.fullmatch(r"([A-Za-z0-9-]([A-Za-z0-9_.-]*[A-Za-z0-9-])?)?", secured(given_))


@pytest.mark.parametrize(
    "name", ["a.py", "A.PKL", "x.pickle", "x.dill", "x.pyc", "x.tar.pyo", "", "...", "--", "a" * 256]
)
def test_what_runs_and_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"no name|not accepted"):
        safe_name(name)
