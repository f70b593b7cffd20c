"""Writes the dashboards: `python grafana/build`."""

from __future__ import annotations

import json
from pathlib import Path

import fleet

FOLDER = Path(__file__).resolve().parent.parent / "dashboards"


def rendered() -> dict[str, str]:
    """File name -> content."""
    return {"fleet.json": json.dumps(fleet.dashboard(), indent=2, ensure_ascii=False) + "\n"}


if __name__ == "__main__":
    for name, content in rendered().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
