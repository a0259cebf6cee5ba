"""What the benchmark says of what it has measured: aims, percentiles, the table, the page."""

import xml.etree.ElementTree as ElementTree
from html import unescape
from typing import Any

from benchmarks.bench import GIVES, STEPS
from benchmarks.figures import AIMS, Aim, lines, percentile, shown, slope_per_hour
from benchmarks.measuring import Figure, machine
from benchmarks.page import bars, curves, page
from benchmarks.processes import SPANS_TOLD, Memory, Watch
from benchmarks.rivals import BATCHES, CATCHUP, SINGLE

NAMES = (
    *("single_vs_empty_handler", "single_vs_eventsourcing", "single_vs_emmett", "single_vs_message_db"),
    *("batch_vs_copy", "batch_vs_emmett", "batch_vs_eventsourcing", "append_p99_ms", "visible_p99_ms"),
    *("catchup_per_core", "catchup_vs_eventsourcing", "query_one_vs_handler", "query_list_vs_handler"),
    *("append_growth", "query_growth", "as_of_vs_now", "as_of_growth", "what_if_s", "tree_cost"),
    *("ledger_rss_mb", "projector_rss_mb", "warm_start_s"),
)


def test_every_promised_figure_has_an_aim():
    assert tuple(aim.name for aim in AIMS) == NAMES
    assert all(aim.bound is not None and aim.limit is not None for aim in AIMS)


def test_every_promised_figure_is_given_by_a_step_or_by_somebody_to_compare_with():
    compared = (*SINGLE, *BATCHES, *CATCHUP)
    given = {name for step in GIVES.values() for name in step} | {each.figure for each in compared}
    assert given >= {*NAMES}
    assert {*GIVES} <= {*STEPS}


def test_an_aim_is_met_at_its_limit():
    assert Aim("a", "", "at least", 2.0).met(2.0) is True
    assert Aim("a", "", "at least", 2.0).met(1.99) is False
    assert Aim("a", "", "at most", 2.0).met(2.0) is True
    assert Aim("a", "", "at most", 2.0).met(2.01) is False
    assert Aim("a", "").met(2.0) is None


def test_a_percentile_is_a_sample():
    samples = [float(number) for number in range(1, 101)]
    assert percentile(samples, 0.99) == 99.0
    assert percentile([*reversed(samples)], 0.5) == 50.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 1.0) == 3.0


def test_figures_are_shown_without_digits_that_nobody_reads():
    assert [shown(value) for value in (0.03916, 1.333, 99.9, 382.5, 19_220.0)] == [
        "0.0392",
        "1.33",
        "99.9",
        "382",
        "19,220",
    ]


def test_one_burst_does_not_make_flat_memory_grow():
    seconds = [float(number) for number in range(60)]
    flat = [100.0] * 60
    flat[30] = 500.0
    assert slope_per_hour(seconds, flat) == 0.0
    assert round(slope_per_hour(seconds, [100 + second / 36 for second in seconds])) == 100
    assert slope_per_hour([1.0], [5.0]) == 0.0


def test_of_an_hour_of_samples_a_few_are_told_and_the_highest_are_among_them():
    watch = Watch()
    watch.samples = [
        Memory(second / 2, "memory", service, 500.0 if second == 4_321 else 70.0)
        for second in range(7_200)
        for service in ("ledger", "projector")
    ]

    told = watch.told()

    assert len(told) <= 2 * (SPANS_TOLD + 1)
    assert [(each.seconds, each.service) for each in told if each.megabytes == 500.0] == [
        (2160.5, "ledger"),
        (2160.5, "projector"),
    ]
    assert Watch().told() == []


def test_what_was_not_measured_has_no_value_and_a_reason():
    found = lines(
        {"tree_cost": Figure.of([1.2, 1.0, 1.1]), "beside": Figure.of([3.0])}, {"single_vs_emmett": "no node"}
    )
    by_name = {line.name: line for line in found}
    assert [line.name for line in found[: len(NAMES)]] == [*NAMES]
    assert (by_name["tree_cost"].value, by_name["tree_cost"].met) == (1.1, True)
    assert by_name["tree_cost"].spread == (1.0, 1.2)
    assert (by_name["single_vs_emmett"].value, by_name["single_vs_emmett"].reason) == (None, "no node")
    assert (by_name["beside"].value, by_name["beside"].met) == (3.0, None)


def test_the_page_shows_every_figure_and_needs_nothing_else():
    figures = {"tree_cost": Figure.of([1.2]), "query_growth": Figure.of([1.0])}
    found = lines(figures, {"single_vs_emmett": "<no node>"})
    results: dict[str, Any] = {
        "benchmark": "toy",
        "on": machine(),
        "about": {"seconds": 12},
        "rates": {"single": {"ledger": [2_000.0, 2_100.0], "empty handler": [4_000.0]}},
        "over_length": {"milliseconds, requirement, now": {"10000": 8.0, "1000000": 9.0}},
        "storage": {"10000": [{"part": "log", "table": "stored_events", "heap": 900.0, "indexes": 300.0}]},
        "memory": [
            {"seconds": float(second), "during": "memory", "service": "ledger", "megabytes": 90.0}
            for second in range(9)
        ],
    }
    text = page(results, found)
    for line in found:
        assert line.name in text
    assert "<no node>" not in text and "<no node>" in unescape(text)
    assert text.count("<svg") == 6
    for outside in ("http:", "https:", "<script", "<link", "url("):
        assert outside not in text
    assert "prefers-color-scheme: dark" in text


def test_a_bar_is_as_long_as_its_value():
    drawn = ElementTree.fromstring(
        bars("rates & more", {"ours": 50.0, "theirs": 100.0}).replace("<figure>", "<figure>")
    )
    ours, theirs = (float(bar.attrib["width"]) for bar in drawn.iter("rect"))
    assert round(theirs / ours, 2) == 2.0


def test_a_curve_over_lengths_is_spaced_by_powers_of_ten():
    drawn = ElementTree.fromstring(curves("cost", {"now": [(1e4, 1.0), (1e5, 1.0), (1e6, 2.0)]}, log_x=True))
    [line] = drawn.iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    xs, ys = zip(*points, strict=True)
    assert round(xs[1] - xs[0], 1) == round(xs[2] - xs[1], 1)
    assert ys[0] == ys[1] > ys[2]
