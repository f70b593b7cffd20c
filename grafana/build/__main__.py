"""Writes the dashboards: `python grafana/build`; with `--layout`, drawings of their grids."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import alerts
import device
import efficiency
import fleet
import health
import layout
import owners
import profiles
import sentinel

import host

PAGES = (fleet, host, device, health, alerts, efficiency, owners, profiles, sentinel)
ROOT = Path(__file__).resolve().parents[2]


def rendered() -> dict[str, str]:
    """File name -> content, of every dashboard."""
    built = [page.dashboard() for page in PAGES]
    return {
        f"{d.uid}.json": json.dumps(d.json(), indent=1, ensure_ascii=False) + "\n" for d in built
    }


def drawn() -> dict[str, str]:
    """File name -> content, of the drawing of every dashboard."""
    built = [page.dashboard() for page in PAGES]
    return {f"{d.uid}.svg": layout.draw(d.json()) for d in built}


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    if "--layout" in sys.argv:
        _write(ROOT / "docs" / "dashboards", drawn())
    else:
        _write(ROOT / "grafana" / "dashboards", rendered())
