"""HTTP(S): the metrics, health and landing pages, and the web configuration file."""
