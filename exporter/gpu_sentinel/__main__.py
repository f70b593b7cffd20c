"""`python -m gpu_sentinel` is `gpu-sentinel`."""

from gpu_sentinel.cli import main

if __name__ == "__main__":
    main()
