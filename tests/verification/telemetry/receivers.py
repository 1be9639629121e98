"""A StatsD server and an OpenTelemetry collector that keep what arrives."""

from __future__ import annotations

import gzip
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a metric, with the provider's name of the metric."""

    name: str
    value: float
    tags: dict[str, str] = field(hash=False)


class StatsD:
    """A server of the StatsD protocol with InfluxDB's tags."""

    is_otel = False

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.lines: list[str] = []
        threading.Thread(target=self._receive, daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    def _receive(self) -> None:
        while True:
            try:
                self.lines += self._socket.recv(65536).decode(errors="replace").splitlines()
            except OSError:
                return

    @property
    def values(self) -> list[Value]:
        found = (re.fullmatch(r"airflow\.(eip\.[a-z.]+)((?:,\w+=[^,:]*)*):([\d.]+)\|\w+", line) for line in self.lines)
        return [
            Value(each[1], float(each[3]), dict(tag.split("=", 1) for tag in each[2].split(",") if tag))
            for each in found
            if each
        ]

    def stop(self) -> None:
        self._socket.close()


class Collector:
    """A collector of OTLP over HTTP."""

    is_otel = True

    def __init__(self) -> None:
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.traces: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path.endswith("/metrics"):
                    collector.metrics.append(ExportMetricsServiceRequest.FromString(body))
                else:
                    collector.traces.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        port = str(self._server.server_address[1])
        options = {"OTEL_HOST": "127.0.0.1", "OTEL_PORT": port, "OTEL_ON": "True"}
        settings = {
            f"AIRFLOW__{part}__{name}": value for part in ("METRICS", "TRACES") for name, value in options.items()
        }
        standard = {"ENDPOINT": f"http://127.0.0.1:{port}", "PROTOCOL": "http/protobuf"}
        settings |= {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in standard.items()}  # Airflow >= 3.2
        # Airflow >= 3.2 selects the exporter of spans by this variable only; the default is gRPC, despite PROTOCOL.
        settings["OTEL_TRACES_EXPORTER"] = "otlp_proto_http"
        return {**settings, "AIRFLOW__METRICS__OTEL_INTERVAL_MILLISECONDS": "5000"}

    @property
    def values(self) -> list[Value]:
        values = []
        for request in list(self.metrics):
            for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points:
                    tags = {pair.key: pair.value.string_value for pair in point.attributes}
                    value = point.sum if "histogram" in kind else (point.as_double or point.as_int)
                    values.append(Value(metric.name.removeprefix("airflow."), float(value), tags))
        return [value for value in values if value.name.startswith("eip.")]

    @property
    def spans(self) -> list[Any]:
        requests = list(self.traces)
        return [span for t in requests for r in t.resource_spans for s in r.scope_spans for span in s.spans]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
