"""The metrics page follows Prometheus' text format and cannot be made to grow by callers."""

import json
import logging
import threading
from typing import Any

import numpy as np
import pytest

from serving.metrics import Counter, Histogram, expose
from serving.observation import Observation, RequestLog, ServerMetrics


def seen(**changes: Any) -> Observation:
    fields: dict[str, Any] = {
        "api": "predict",
        "entrypoint": "GRPC",
        "model": "m",
        "version": 3,
        "signature": "serving_default",
        "status": "OK",
        "seconds": 0.002,
        "inputs": {},
        "outputs": {},
    }
    return Observation(**(fields | changes))


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
    threads = [
        threading.Thread(target=lambda: [counter.add("a") for _ in range(1000)]) for _ in range(8)
    ]
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


def test_the_request_log_takes_its_share(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "serving.requests")
    for rate, low, high in ((0.0, 0, 0), (0.5, 100, 300), (1.0, 400, 400)):
        caplog.clear()
        log = RequestLog(rate)
        for _ in range(400):
            log.observe(seen())
        assert low <= len(caplog.records) <= high


def test_the_request_log_holds_shapes_and_small_outputs(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "serving.requests")
    inputs = {"image_bytes": np.array([b"secret"], object)}
    outputs = {
        "label": np.array([["caf\u00e9".encode(), b"\xff"]], object),
        "probabilities": np.zeros((1, 1000), np.float32),
    }
    RequestLog(1.0).observe(seen(inputs=inputs, outputs=outputs))
    line = json.loads(caplog.records[0].message)
    assert line["inputs"] == {"image_bytes": "string[1]"}
    assert line["outputs"] == {
        "label": [["caf\u00e9", "\ufffd"]],
        "probabilities": "float32[1,1000]",
    }
    assert line["milliseconds"] == 2.0


def test_a_rate_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="must lie between 0 and 1, got 2"):
        RequestLog(2)
