"""The request log says what was asked and answered, and shows no pixels."""

import bz2
import gzip
import json
import logging
import lzma
import resource
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import Client
from serving.errors import ModelNotFound
from serving.request_log import DailyFile, RequestLog
from serving.server import ModelServer
from serving.settings import Listen, of_store
from serving.store import Store
from serving.traffic import Answers, TrafficError, read
from tests.support.classifier import seen


def test_the_request_log_takes_its_share(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "serving.requests")
    for rate, low, high in ((0.0, 0, 0), (0.5, 100, 300), (1.0, 400, 400)):
        caplog.clear()
        log = RequestLog(rate)
        for _ in range(400):
            log.observe(seen())
        assert low <= len(caplog.records) <= high


def test_a_name_that_a_caller_made_up_is_cut(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "serving.requests")
    RequestLog(1.0).observe(seen()._replace(model="m" * 10_000, signature="s" * 10_000))
    line = json.loads(caplog.records[0].message)
    assert (line["model"], line["signature"]) == ("m" * 128, "s" * 128)


def logged(class_id: Any = 1, confidence: Any = 0.5, zone: str = "+00:00", version: int = 1) -> str:
    """A line of one answer."""
    answers = {"class_id": [class_id], "confidence": [confidence]}
    moment = f"2026-01-01T00:00:00{zone}"
    return json.dumps({"answers": answers, "time": moment, "version": version, "model": "m"})


@pytest.mark.parametrize(
    "line",
    [
        logged(confidence=float("nan")),
        logged(confidence=2.5),
        logged(class_id=-1),
        logged(class_id=1e40),
        logged(class_id=10**30),
        logged(class_id="x"),
        logged(zone=""),
        logged(version=-1),
        '{"answers": ' + "[" * 100_000,
    ],
    ids=["NaN", "above 1", "negative", "float", "huge", "text", "no zone", "version", "deep"],
)
def test_lines_that_no_server_wrote_are_passed_over(tmp_path: Path, line: str):
    (tmp_path / "requests.jsonl").write_text(f"{line}\n{logged()}\n")
    [found] = read(tmp_path)
    assert (found.model, found.class_ids.tolist()) == ("m", [1])


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


def classified(rows: int, classes: int = 3) -> dict[str, Any]:
    """Outputs of a classifier whose answer to row n is class n modulo the number of classes."""
    class_id = np.arange(rows) % classes
    probabilities = np.full((rows, classes), 0.1, np.float32)
    probabilities[np.arange(rows), class_id] = 0.8
    return {"class_id": class_id, "probabilities": probabilities, "label": np.array([b"x"] * rows)}


def test_class_and_confidence_are_there_however_many_rows_and_classes():
    lines: list[str] = []
    log = RequestLog(1.0, lines.append)
    log.observe(seen(outputs=classified(40, classes=1000)))
    log.observe(seen(outputs={"label": np.array([b"a"], object)}))
    log.observe(seen(outputs=classified(3000)))
    answers = [json.loads(line).get("answers") for line in lines]
    assert answers[0] == {"class_id": list(range(40)), "confidence": [0.8] * 40}
    assert answers[1] is None
    assert len(answers[2]["class_id"]) == len(answers[2]["confidence"]) == 1024


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_file_is_a_new_one_each_day_and_old_ones_go(tmp_path: Path):
    for days in (400, 31, 29):
        day = datetime.now(UTC) - timedelta(days=days)
        (tmp_path / f"requests-{day:%Y%m%d}.jsonl").write_text("{}\n")
    (tmp_path / "notes.jsonl").write_text("mine")
    file = DailyFile(tmp_path, keep_days=30)
    file.write("one")
    file.write("two")
    file.close()
    file.write("three")  # a request that ends after the server did
    file.close()
    today = f"requests-{datetime.now(UTC):%Y%m%d}.jsonl"
    assert (tmp_path / today).read_text() == "one\ntwo\nthree\n"
    assert len(files(tmp_path)) == 3
    assert "notes.jsonl" in files(tmp_path)


def test_a_full_disk_is_reported_once_and_fails_no_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = DailyFile(tmp_path)
    (tmp_path / f"requests-{datetime.now(UTC):%Y%m%d}.jsonl").symlink_to("/dev/full")
    for _ in range(3):
        file.write("line")
    file.close()
    assert caplog.text.count("the request log cannot be written") == 1


def test_a_line_that_a_full_disk_took_half_of_spoils_none_after_it(tmp_path: Path):
    lines: list[str] = []
    RequestLog(1.0, lines.append).observe(seen(outputs=classified(2)))
    file, most = DailyFile(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(lines[0]) // 2, most[1]))
    try:
        file.write(lines[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    file.write(lines[0])
    file.close()
    assert flat(list(read(tmp_path))) == [("m", 3, [0, 1], [0.8, 0.8])]


def flat(found: "list[Answers]") -> list[tuple[str, int, list[int], list[float]]]:
    return [
        (a.model, a.version, a.class_ids.tolist(), a.confidences.round(4).tolist()) for a in found
    ]


def test_what_a_server_logs_is_read_again(served_store: Store, tmp_path: Path):
    store = served_store
    settings = of_store(store.root, Listen(port=0, rest_port=None))
    logged = replace(settings, log_rate=1.0, log_directory=tmp_path)
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    with ModelServer(logged) as server, Client(server.grpc_address) as client:
        predictions = client.predict(pixels, model="shapes")
        with pytest.raises(ModelNotFound):
            client.predict(pixels, model="nothing")
    (answers,) = read(tmp_path)
    assert answers.class_ids.tolist() == [p.class_id for p in predictions]
    np.testing.assert_allclose(answers.confidences, [p.probability for p in predictions], atol=1e-6)
    assert (answers.model, answers.version) == ("shapes", store.live("shapes"))
    assert answers.moment is not None
    assert abs(answers.moment - datetime.now(UTC)) < timedelta(minutes=5)
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert '"image": "uint8[5,4,4,1]"' in text


def test_lines_are_found_behind_a_loggers_words_and_in_gzip_and_torn_ones_passed_over(
    tmp_path: Path,
):
    lines: list[str] = []
    RequestLog(1.0, lines.append).observe(seen(outputs=classified(2)))
    text = f"2026-01-01 INFO serving.requests: {lines[0]}\nnoise\n{lines[0][:80]}\n"
    (tmp_path / "a.log").write_text(text)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(f"{lines[0]}\n".encode()))
    assert flat(list(read(tmp_path))) == [("m", 3, [0, 1], [0.8, 0.8])] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"answers": {"class_id": [1, 2], "confidence": [0.5]}},
        {"answers": {"class_id": "one", "confidence": [0.5]}},
        {"answers": []},
        {"version": None},
        {"time": "yesterday"},
    ],
)
def test_a_line_that_cannot_be_counted_is_passed_over(tmp_path: Path, change: dict[str, Any]):
    lines: list[str] = []
    RequestLog(1.0, lines.append).observe(seen(outputs=classified(1)))
    (tmp_path / "log").write_text(json.dumps(json.loads(lines[0]) | change) + "\n")
    assert list(read(tmp_path)) == []


@pytest.fixture
def prediction_log(tmp_path: Path) -> Callable[..., Path]:
    """Write what TensorFlow Serving's request logging writes."""

    def write(*rows: int) -> Path:
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        path = tmp_path / "shapes.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for count in rows:
                record = prediction_log_pb2.PredictionLog()
                response = record.predict_log.response
                response.model_spec.name = "shapes"
                response.model_spec.version.value = 9
                for name, array in classified(count).items():
                    response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
                writer.write(record.SerializeToString())
            writer.write(prediction_log_pb2.PredictionLog().SerializeToString())  # a regression
        return path

    return write


def test_tensorflow_servings_own_log_is_read(tmp_path: Path, prediction_log: Callable[..., Path]):
    prediction_log(3, 1)
    expected = [("shapes", 9, [0, 1, 2], [0.8] * 3), ("shapes", 9, [0], [0.8])]
    assert flat(list(read(tmp_path))) == expected


def test_a_record_cut_off_by_a_crash_ends_the_file(
    tmp_path: Path, prediction_log: Callable[..., Path]
):
    path = prediction_log(3, 1)
    path.write_bytes(path.read_bytes()[:-20])
    assert flat(list(read(tmp_path)))[0] == ("shapes", 9, [0, 1, 2], [0.8] * 3)


def test_records_compressed_by_gzip_are_read(tmp_path: Path, prediction_log: Callable[..., Path]):
    path = prediction_log(1)
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert flat(list(read(tmp_path))) == [("shapes", 9, [0], [0.8])]


def test_a_record_that_is_damaged_is_named(tmp_path: Path, prediction_log: Callable[..., Path]):
    path = prediction_log(3, 1)
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    with pytest.raises(TrafficError, match=f"{path} is damaged: corrupted record at 12"):
        list(read(tmp_path))


@pytest.mark.parametrize("text", [b'{"a line": 1}\n' * 100, b"\0records" * 100])
@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
        (lambda content: b"\x28\xb5\x2f\xfd" + content, "zstd"),
    ],
)
def test_a_compression_that_is_not_known_is_named(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str, text: bytes
):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(pack(text))
    with pytest.raises(TrafficError, match=f"{path} is compressed by {name}; expected gzip, or no"):
        list(read(tmp_path))


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: raw[:12] + b"#" + raw[13:]])
def test_a_damaged_gzip_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]):
    path = tmp_path / "requests.jsonl.gz"
    path.write_bytes(damage(gzip.compress(b'{"a line": 1}\n' * 1000)))
    with pytest.raises(TrafficError, match=f"{path} is damaged: "):
        list(read(tmp_path))


def test_a_directory_without_a_log_says_how_to_get_one(tmp_path: Path):
    for where in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TrafficError, match="convoy serve --request-log DIR"):
            list(read(where))


def test_records_of_something_else_are_refused_by_their_file(tmp_path: Path):
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "examples")) as writer:
        writer.write(b"\xff\xff\xff no message")
    with pytest.raises(TrafficError, match="examples holds records that are no PredictionLog"):
        list(read(tmp_path))
