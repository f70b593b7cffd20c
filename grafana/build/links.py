"""Ways from one page to the next: they keep the variables and the time."""

from __future__ import annotations

from core import TAG, Json

#: uid -> title, in the order in which they stand in the menu.
PAGES = {
    "gpu-fleet": "GPU fleet",
    "gpu-host": "GPU host",
    "gpu-device": "GPU",
    "gpu-health": "GPU health",
    "gpu-alerts": "GPU alerts",
    "gpu-efficiency": "GPU efficiency and cost",
    "gpu-owners": "GPU owners",
    "gpu-profiling": "GPU profiling",
    "gpu-sentinel": "GPU Sentinel itself",
}
_CHOSEN = "${ds:queryparam}&${cluster:queryparam}"
_TIME = "${__url_time_range}"


def menu(uid: str) -> list[Json]:
    """Links from a page to all others."""
    return [
        {
            "type": "link",
            "title": title,
            "url": f"/d/{other}",
            "keepTime": True,
            "includeVars": True,
            "targetBlank": False,
            "asDropdown": False,
            "icon": "dashboard",
            "tags": [TAG],
            "tooltip": "",
        }
        for other, title in PAGES.items()
        if other != uid
    ]


def to_gpu(
    host: str = "${__data.fields.Host}", gpu: str = "${__data.fields.GPU}"
) -> tuple[Json, ...]:
    """From a row or a point to the GPU."""
    url = f"/d/gpu-device?{_CHOSEN}&var-host={host}&var-gpu={gpu}&{_TIME}"
    return ({"title": f"GPU {gpu} of {host}", "url": url},)


def to_host(host: str = "${__data.fields.Host}") -> tuple[Json, ...]:
    """From a row or a point to the host."""
    url = f"/d/gpu-host?{_CHOSEN}&var-host={host}&{_TIME}"
    return ({"title": f"Host {host}", "url": url},)


def to_page(uid: str) -> tuple[Json, ...]:
    """From a number to the page that explains it."""
    variables = _CHOSEN + "&${host:queryparam}"
    return ({"title": PAGES[uid], "url": f"/d/{uid}?{variables}&{_TIME}"},)


def to_owner(owner: str = "${__data.fields.Owner:percentencode}") -> tuple[Json, ...]:
    """From a row to all that one owner has; it may be on other hosts, too."""
    url = f"/d/gpu-owners?{_CHOSEN}&var-owner={owner}&{_TIME}"
    return ({"title": "This owner alone", "url": url},)


def to_owners(label: str, column: str) -> tuple[Json, ...]:
    """From a row to the owners of a namespace, an account or a user."""
    value = f"${{__data.fields.{column}:percentencode}}"
    url = f"/d/gpu-owners?{_CHOSEN}&var-{label}={value}&{_TIME}"
    return ({"title": "Its owners", "url": url},)


#: From a line to its GPU.
LINE_TO_GPU = to_gpu("${__field.labels.host}", "${__field.labels.gpu}")
LINE_TO_HOST = to_host("${__field.labels.host}")
#: From an alert to Grafana's form for a silence, filled in.
SILENCE: Json = {
    "title": "Silence this",
    "url": "/alerting/silence/new?alertmanager=Alertmanager"
    "&matcher=alertname%3D${__data.fields.Alert}&matcher=host%3D${__data.fields.Host}"
    "&matcher=gpu%3D${__data.fields.GPU}",
}
