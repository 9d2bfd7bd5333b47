"""What a user writes today with PyTorch: SHARED/bench/pytorch_baseline.py, in a process of its own.

Needs Debian's python3-torch and python3-torchvision.
"""
import json
import os
import subprocess
import time

MODES = ("fixed", "cached", "last", "all")
_CACHED_RATE = 1e-2  # that its own mode `last` trains the head with; the other modes keep its default


class Yardstick:
    """`photos` holds train/CLASS/picture and val/CLASS/picture."""

    def __init__(self, arguments, photos):
        self._shared, self._threads, self._photos = arguments.shared, arguments.threads, photos

    def run(self, mode, backbone, epochs, seed):
        """What it prints, and `wall`: its time with start and imports."""
        start = time.monotonic()
        rate = ["--lr", str(_CACHED_RATE)] if mode == "cached" else []
        process = subprocess.run(
            ["/usr/bin/python3", os.path.join(self._shared, "bench", "pytorch_baseline.py"), "--mode", mode, "--arch",
             backbone, "--threads", str(self._threads), "--epochs", str(epochs), "--seed", str(seed), "--data",
             self._photos, "--weights", os.path.join(self._shared, "weights", f"{backbone}.safetensors"), *rate],
            stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        result = json.loads(process.stdout.splitlines()[-1])
        result["wall"] = time.monotonic() - start
        return result


def add_arguments(parser):
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="PyTorch's; graft uses all cores")


def correct(result):
    """(right answers, pictures) of the validation after the last epoch."""
    return round(result["final_accuracy"] * result["val_images"]), result["val_images"]
