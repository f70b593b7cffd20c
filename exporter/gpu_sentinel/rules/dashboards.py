"""Which dashboard an alert links to."""

from __future__ import annotations

#: Category of a group of alerts -> uid of the dashboard that shows most of it. A test asks for each
#: of them to exist.
DASHBOARDS = {
    "availability": "gpu-fleet",
    "hardware": "gpu-fleet",
    "thermal": "gpu-fleet",
    "power": "gpu-fleet",
    "memory": "gpu-fleet",
    "workload": "gpu-fleet",
    "anomaly": "gpu-fleet",
    "stack": "gpu-fleet",
}
#: Variables that a link sets from the labels of its alert.
VARIABLES = (("host", "{{ $labels.host }}"),)


def address(base: str, category: str) -> str:
    """The address of the dashboard of a category, with the host of the alert chosen."""
    chosen = "&".join(f"var-{name}={value}" for name, value in VARIABLES)
    return f"{base}/d/{DASHBOARDS[category]}?{chosen}"
