# For https://cloudflare.github.io/pint: `pint --offline lint prometheus/rules prometheus/alerts`.
checks {
  disabled = [
    # Groups have intervals of their own; what asks for the record of another group waits for it.
    "rule/dependency",
    # Every alert says how long it waits, also where it does not.
    "alerts/for",
    # Seconds that were observed are above zero where they are recorded.
    "promql/nan",
    # The watchdog.
    "alerts/comparison",
  ]
}
