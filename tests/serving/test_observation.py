"""The metrics page follows Prometheus' text format and cannot be made to grow by callers."""

import threading

from serving.metrics import Counter, Histogram, expose
from serving.observation import ServerMetrics
from tests.support.classifier import seen


def test_a_counter_and_a_histogram_in_text():
    counter = Counter("requests", "How many.", ("who",))
    counter.add('a "b"\n\\')
    counter.add("z", amount=2.5)
    histogram = Histogram("seconds", "How long.", ("who",), (0.5, 1))
    for value in (0.5, 0.75, 3):
        histogram.observe("a", value=value)
    assert expose([counter, histogram]).splitlines() == [
        "# HELP requests How many.",
        "# TYPE requests counter",
        r'requests{who="a \"b\"\n\\"} 1',
        'requests{who="z"} 2.5',
        "# HELP seconds How long.",
        "# TYPE seconds histogram",
        'seconds_bucket{who="a",le="0.5"} 1',
        'seconds_bucket{who="a",le="1"} 2',
        'seconds_bucket{who="a",le="+Inf"} 3',
        'seconds_sum{who="a"} 4.25',
        'seconds_count{who="a"} 3',
    ]


def test_counts_from_many_threads_add_up():
    counter = Counter("n", "n", ("x",))

    def count() -> None:
        for _ in range(1000):
            counter.add("a")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(counter.lines()) == ['n{x="a"} 8000']


def test_invented_names_do_not_become_series():
    metrics = ServerMetrics()
    for n in range(100):
        metrics.observe(seen(model=f"invented{n}", version=None, status="NOT_FOUND"))
    page = metrics.page()
    assert "invented" not in page
    assert ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"} 100' in page


def test_a_request_appears_in_every_series():
    metrics = ServerMetrics()
    metrics.observe(seen())
    page = metrics.page()
    labels = 'model_name="m",version="3",signature="serving_default"'
    assert f'convoy_requests_total{{{labels},status="OK"}} 1' in page
    assert f'convoy_request_seconds_bucket{{{labels},le="0.0025"}} 1' in page
    latency = ':tensorflow:serving:request_latency_sum{model_name="m",API="predict",'
    assert latency + 'entrypoint="GRPC"} 2000' in page


def test_a_refusal_is_counted_and_not_timed():
    metrics = ServerMetrics()
    metrics.observe(seen(status="INVALID_ARGUMENT"))
    page = metrics.page()
    assert ':tensorflow:serving:request_count{model_name="m",status="INVALID_ARGUMENT"} 1' in page
    assert "request_latency_count" not in page
