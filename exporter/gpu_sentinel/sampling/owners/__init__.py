"""Who uses and who holds the GPUs, and what of busy time and energy is whose."""
