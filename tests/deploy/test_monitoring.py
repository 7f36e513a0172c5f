"""Prometheus and Grafana ask for what the servers tell."""

import json
import re
from pathlib import Path

import yaml

from serving.observation import Observation, ServerMetrics
from serving.settings import read_metrics_path

MONITORING = Path(__file__).parent.parent.parent / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana" / "serving.json").read_text(encoding="utf-8"))
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def series() -> dict[str, set[str]]:
    """The series on the page of a server that has worked, each with its label names."""
    metrics = ServerMetrics()
    metrics.observe(Observation("predict", "GRPC", "digits", 1, "s", "OK", 0.1, {}, {}))
    metrics.batch_size.observe("digits", "1", value=1)
    metrics.loads.add("/models/digits/1", "success")
    metrics.load_latency.add("/models/digits/1", amount=5)
    found = re.findall(r"^([a-z_:]+)\{(.*)\} ", metrics.page(), re.MULTILINE)
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in found}


def test_every_query_asks_for_series_and_labels_that_the_server_tells():
    told = series()
    for query in QUERIES:
        asked = re.findall(r"([a-z_:]+)(?:\{[^}]*\})?\[", query)
        assert asked, query
        assert set(asked) <= set(told), query
        groups = re.findall(r"by \((.*?)\)", query)
        grouped = {label for group in groups for label in group.split(", ")}
        assert all(grouped <= told[name] for name in asked), query


def test_legends_name_labels_that_their_query_keeps():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            kept = re.search(r"by \((.*?)\)", target["expr"])
            assert kept is not None
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= set(kept.group(1).split(", ")), panel["title"]


def test_panels_fill_rows_without_overlap():
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]]
    assert len(set(places)) == len(DASHBOARD["panels"])
    assert {p["gridPos"]["w"] for p in DASHBOARD["panels"]} == {12}
    assert {x for x, _ in places} == {0, 12}  # of 24 columns


def test_prometheus_asks_where_the_servers_are_told_to_answer():
    path = read_metrics_path(MONITORING / "monitoring.config")
    jobs = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    assert [job["metrics_path"] for job in jobs] == [path]


def test_the_dashboard_reads_the_data_source_that_is_provisioned():
    sources = yaml.safe_load((MONITORING / "grafana" / "datasource.yml").read_text())
    uids = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
    assert uids == {source["uid"] for source in sources["datasources"]}
