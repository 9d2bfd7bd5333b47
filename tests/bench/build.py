"""The programs that the benchmarks run: an optimised build of this checkout, or the one that --build names."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

_TARGETS = ("graftd", "graft_cli", "graft_bench_backbone_forward", "graft_bench_bare_loop", "graft_bench_classify_load")
_LOAD = os.getloadavg()[0]  # of others: nothing of ours runs yet


def add_arguments(parser):
    parser.add_argument("--build", metavar="DIR", help="a build folder, taken as it is (default: build/bench, built)")
    parser.add_argument("--shared", metavar="DIR", default=os.environ.get("GRAFT_SHARED"),
                        help="folder of data/, weights/ and bench/ (default: GRAFT_SHARED)")


def use(arguments, needs_shared=True):
    """Returns a function from a program's name to its path, and points the service module at graftd and graft."""
    if needs_shared and not arguments.shared:
        sys.exit("--shared: got nothing, want the folder of data/, weights/ and bench/")
    folder = os.path.abspath(arguments.build) if arguments.build else _build()
    import service  # it is found only now, on the path above
    service.GRAFTD, service.GRAFT = (os.path.join(folder, "bin", name) for name in ("graftd", "graft"))
    return lambda name: os.path.join(folder, "bin", name)


def _build():
    folder = os.path.join(ROOT, "build", "bench")
    subprocess.run(["cmake", "--preset", "release", "-DGRAFT_BUILD_TESTS=ON", "-B", folder], cwd=ROOT, check=True,
                   stdout=sys.stderr)
    subprocess.run(["cmake", "--build", folder, "--parallel", "--target", *_TARGETS], check=True, stdout=sys.stderr)
    return folder


def machine():
    """One line for the head of a report."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown CPU")
    busy = f"; BUSY BEFORE THE START (load average {_LOAD:.1f}): not worth comparing" if _LOAD > 0.5 else ""
    return f"{os.cpu_count()} x {model}{busy}"


def table(columns, rows):
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
