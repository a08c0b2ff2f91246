"""The text that `rdagentctl metrics` writes is what Prometheus reads."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rdagentctl.commands.metrics import lines

PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12) | st.sampled_from(['a"b', "a\\b", " "])
NUMBERS = st.integers(-(2**53), 2**53) | st.floats()


def parsed(family: dict[str, Any]) -> dict[tuple[str, ...], float]:
    """Value by name and label values, of what a reader of Prometheus' client library makes of the text."""
    found = {}
    (read,) = text_string_to_metric_families("".join(lines(family)))
    for sample in read.samples:
        found[sample.name, *sample.labels.values()] = sample.value
    return found


@settings(deadline=None)
@given(st.dictionaries(PRINTABLE, NUMBERS, min_size=1, max_size=4), PRINTABLE)
def test_any_value_under_any_label_is_read_again(values: dict[str, float], about: str) -> None:
    samples = [[[label], value] for label, value in values.items()]
    found = parsed({"name": "x_total", "kind": "counter", "help": about, "labels": ["l"], "samples": samples})
    assert found.keys() == {("x_total", label) for label in values}
    for label, value in values.items():
        got = found["x_total", label]
        assert got == value or (math.isnan(got) and math.isnan(value))


def test_a_sample_without_labels() -> None:
    assert parsed({"name": "x", "kind": "gauge", "help": "h", "labels": [], "samples": [[[], 1.5]]}) == {("x",): 1.5}


def test_a_histogram_has_buckets_a_sum_and_a_count() -> None:
    value = {"buckets": [["0.5", 2], ["+Inf", 3]], "sum": 4.25}
    found = parsed({"name": "x", "kind": "histogram", "help": "h", "labels": ["op"], "samples": [[["a"], value]]})
    assert found == {
        ("x_bucket", "a", "0.5"): 2, ("x_bucket", "a", "+Inf"): 3, ("x_count", "a"): 3, ("x_sum", "a"): 4.25,
    }  # fmt: skip


def test_an_info_is_a_gauge_to_the_text_format() -> None:
    text = "".join(
        lines({"name": "x_info", "kind": "info", "help": "h", "labels": ["v"], "samples": [[["1\x1b[m"], 1]]})
    )
    assert text == '# HELP x_info h\n# TYPE x_info gauge\nx_info{v="1\\\\x1b[m"} 1\n'
