"""Envoy's configuration as plain dictionaries: who is asked, in what shares, and who answers when one is gone. Pure."""

from collections.abc import Mapping
from typing import Any, Final

_V3: Final = "type.googleapis.com/envoy"
HTTP_MANAGER: Final = f"{_V3}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER: Final = f"{_V3}.extensions.filters.http.router.v3.Router"
ROUTES: Final = "answers"
REQUEST_SECONDS: Final = 15
MOST_RETRIES: Final = 1024
TRY_SECONDS: Final = 5
"""A version that hangs: the request goes to the stable one after so long."""


def bootstrap(*, port: int, admin_port: int, clusters: str, routes: str, node: str) -> dict[str, Any]:
    """The one file that Envoy is started with; clusters and routes are watched files."""
    manager = {
        "@type": HTTP_MANAGER,
        "stat_prefix": "answers",
        "codec_type": "AUTO",
        "generate_request_id": True,
        # Labels are joined by request id: a client's own id is kept, and every client hears it.
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "rds": {"route_config_name": ROUTES, "config_source": _file(routes)},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    return {
        "node": {"id": node, "cluster": node},
        "admin": {"address": _address(admin_port)},
        "dynamic_resources": {"cds_config": _file(clusters)},
        "static_resources": {
            "listeners": [
                {
                    "name": "endpoint",
                    "address": _address(port),
                    # Else a second Envoy could listen on the same port, and each would get a part of the requests.
                    "enable_reuse_port": False,
                    "filter_chains": [
                        {
                            "filters": [
                                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                            ]
                        }
                    ],
                }
            ]
        },
    }


def clusters(ports: Mapping[str, int], model: str) -> dict[str, Any]:
    """A cluster a loaded version, and one for each ordered pair: the second answers where the first cannot be reached."""
    found = [_leaf(version, port, model) for version, port in sorted(ports.items())]
    pairs = [(one, other) for one in sorted(ports) for other in sorted(ports) if one != other]
    return {"resources": found + [_pair(one, other) for one, other in pairs]}


def routes(weights: Mapping[str, int], *, stable: str | None, mirror: Mapping[str, int]) -> dict[str, Any]:
    """Weights in percent; requests mirrored to a version in percent.

    Args:
        weights: Version to percent; versions at 0 are left out. They sum to 100.
        stable: Loaded version that answers where another cannot be reached; None for none.
        mirror: Version to percent.

    Raises:
        ValueError: Weights that do not sum to 100.
    """
    if sum(weights.values()) != 100 or min(weights.values()) < 0:
        raise ValueError(f"weights must be whole percents that sum to 100: {dict(weights)}")
    shares = [
        {"name": cluster_of(version, stable), "weight": weight}
        for version, weight in sorted(weights.items())
        if weight > 0
    ]
    action: dict[str, Any] = {
        "weighted_clusters": {"clusters": shares},
        "timeout": f"{REQUEST_SECONDS}s",
        "retry_policy": {
            # An answer has no side effect, so one that broke off may be asked for again. A version's own 500 is not: it is
            # what the version is judged by.
            "retry_on": "connect-failure,refused-stream,reset,gateway-error",
            "num_retries": 2,
            "per_try_timeout": f"{TRY_SECONDS}s",
            "retry_priority": {
                "name": "envoy.retry_priorities.previous_priorities",
                "typed_config": {
                    "@type": f"{_V3}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 1,
                },
            },
        },
    }
    policies = [
        {
            "cluster": leaf_name(version),
            "runtime_fraction": {"default_value": {"numerator": percent, "denominator": "HUNDRED"}},
        }
        for version, percent in sorted(mirror.items())
        if percent > 0
    ]
    if policies:
        action["request_mirror_policies"] = policies
    # Only what asks a model: MLServer's repository calls could unload one.
    prefixes = ("/v2/models/", "/v2/health/")
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": p}, "route": action} for p in prefixes]}
    return {
        "resources": [{"@type": f"{_V3}.config.route.v3.RouteConfiguration", "name": ROUTES, "virtual_hosts": [host]}]
    }


def no_routes() -> dict[str, Any]:
    """Before the first route: Envoy does not start without the file."""
    return {
        "resources": [
            {
                "@type": f"{_V3}.config.route.v3.RouteConfiguration",
                "name": ROUTES,
                "virtual_hosts": [{"name": "all", "domains": ["*"]}],
            }
        ]
    }


def weights_of(route: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """(weights, mirrored percents) of a route as Envoy reports it; the reverse of `routes`."""
    for host in route.get("virtual_hosts", []):
        for entry in host.get("routes", []):
            action = entry.get("route", {})
            shares = action.get("weighted_clusters", {}).get("clusters", [])
            weights = {version_of(share["name"]): int(share.get("weight", 0)) for share in shares}
            mirror = {
                version_of(policy["cluster"]): int(
                    policy.get("runtime_fraction", {}).get("default_value", {}).get("numerator", 100)
                )
                for policy in action.get("request_mirror_policies", [])
            }
            return weights, mirror
    return {}, {}


def leaf_name(version: str) -> str:
    """Cluster of the version's own server."""
    return f"version:{version}"


def cluster_of(version: str, stable: str | None) -> str:
    """Cluster that a version's share of the traffic goes to."""
    return leaf_name(version) if stable in (None, version) else f"version:{version}:else:{stable}"


def version_of(cluster: str) -> str:
    """The version that a cluster is about."""
    return cluster.split(":")[1]


def _leaf(version: str, port: int, model: str) -> dict[str, Any]:
    name = leaf_name(version)
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "@type": f"{_V3}.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [{"max_retries": MOST_RETRIES}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": f"/v2/models/{model}/ready"},
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_V3}.extensions.upstreams.http.v3.HttpProtocolOptions",
                # MLServer closes an idle connection after 5 s; whoever closes first loses no request.
                "common_http_protocol_options": {"idle_timeout": "4s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _pair(version: str, stable: str) -> dict[str, Any]:
    return {
        "@type": f"{_V3}.config.cluster.v3.Cluster",
        "name": cluster_of(version, stable),
        "connect_timeout": "1s",
        # By default only three requests may be retried at a time: the fourth client of a dead candidate would get its error.
        "circuit_breakers": {"thresholds": [{"max_retries": MOST_RETRIES}]},
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{_V3}.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": [leaf_name(version), leaf_name(stable)],
            },
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _file(path: str) -> dict[str, Any]:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}
