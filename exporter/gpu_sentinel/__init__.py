"""GPU Sentinel: an exporter for NVIDIA GPUs that samples between the scrapes."""

__version__ = "0.1.0"
