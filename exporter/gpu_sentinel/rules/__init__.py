"""Prometheus' rules: declared here, written to `prometheus/` with the settings of its thresholds.

`gpu-sentinel thresholds --write` makes the files anew after a change of `thresholds.yml`.
"""
