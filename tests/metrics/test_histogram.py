"""A histogram has Prometheus's buckets."""

from telegram.metrics.histogram import Histogram


def test_values_are_in_all_buckets_from_theirs_on():
    histogram = Histogram((1.0, 2.0))
    for value in (-1.0, 0.5, 1.0, 1.5, 5.0):
        histogram.add(value)
    assert histogram.buckets() == [("1.0", 3.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert (len(histogram), histogram.total) == (5, 8.0)
