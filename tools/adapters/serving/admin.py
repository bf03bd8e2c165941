# pyright: basic
"""What does Envoy say it does? Its admin interface, on loopback."""

import http.client
import json
from dataclasses import dataclass
from typing import Any

from tools.adapters.serving import envoy_config
from tools.adapters.serving.layout import LOOPBACK
from tools.errors import Unavailable

SECONDS = 2.0
LEAST_TIMEOUTS = 2
TIMEOUT_SHARE = 0.01
"""A version hangs where more of its requests than this had no answer in time, and at least two."""


@dataclass(frozen=True)
class Host:
    """One version's server, as Envoy sees it."""

    healthy: bool
    connect_failures: int
    timeouts: int
    requests: int

    @property
    def hangs(self) -> bool:
        """Whether too many of its requests had no answer in time since Envoy started: one in thousands is no hang.

        A server that hangs after thousands of answers is found by Envoy's checks, which it does not answer either.
        """
        return self.timeouts >= LEAST_TIMEOUTS and self.timeouts > TIMEOUT_SHARE * self.requests


def get(port: int, path: str, seconds: float = SECONDS) -> tuple[int, bytes]:
    """(status, body). Raises `OSError` or `http.client.HTTPException`."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=seconds)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


class Admin:
    """Raises `Unavailable` where Envoy does not answer."""

    def __init__(self, port: int) -> None:
        self._port = port

    def route(self) -> tuple[dict[str, int], dict[str, int]] | None:
        """(weights, mirrored percents) in force; empty before the first route.

        None where Envoy has none yet: for some milliseconds after its start it answers before it has read the file.
        """
        dump = self._json("/config_dump?resource=dynamic_route_configs")
        for config in dump.get("configs", []):
            route = config.get("route_config", {})
            if route.get("name") == envoy_config.ROUTES:
                return envoy_config.weights_of(route)
        return None

    def route_names(self) -> list[str]:
        """Clusters that the route in force sends traffic to: which version stands in for which is in their names."""
        dump = self._json("/config_dump?resource=dynamic_route_configs")
        return sorted(
            {
                share["name"]
                for config in dump.get("configs", [])
                for host in config.get("route_config", {}).get("virtual_hosts", [])
                for entry in host.get("routes", [])
                for share in entry.get("route", {}).get("weighted_clusters", {}).get("clusters", [])
            }
        )

    def hosts(self) -> dict[str, Host]:
        """Version to its server."""
        found: dict[str, Host] = {}
        for status in self._json("/clusters?format=json").get("cluster_statuses", []):
            name = status.get("name", "")
            for host in status.get("host_statuses", []):
                if name.startswith("version:") and name.count(":") == 1:
                    counted = {stat["name"]: int(stat.get("value", 0)) for stat in host.get("stats", [])}
                    health = host.get("health_status", {})
                    healthy = not any(health.get(key) for key in ("failed_active_health_check", "active_hc_timeout"))
                    found[envoy_config.version_of(name)] = Host(
                        healthy,
                        counted.get("cx_connect_fail", 0),
                        counted.get("rq_timeout", 0),
                        counted.get("rq_total", 0),
                    )
        return found

    def _json(self, path: str) -> dict[str, Any]:
        try:
            status, body = get(self._port, path)
            if status == 200:
                return json.loads(body)
            what = f"status {status}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            what = str(error) or type(error).__name__
        raise Unavailable(
            f"Envoy does not answer: {what}",
            thing="serving",
            remedy="`retrain serving up MODEL` starts what is missing; `retrain serving status MODEL` shows it",
        )
