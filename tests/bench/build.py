"""The programs that the benchmarks run: an optimised build of this checkout, or the one that --build names."""
import datetime
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

_TARGETS = ("graftd", "graft_cli", "graft_bench_backbone_forward", "graft_bench_bare_loop", "graft_bench_classify_load")
_LOAD = os.getloadavg()[0]  # of others: nothing of ours runs yet
_COMMAND_SECONDS = 86400  # a training may take hours


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
    service.COMMAND_SECONDS = _COMMAND_SECONDS
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
        fields = dict(map(str.strip, line.split(":", 1)) for line in f if ":" in line)
    model = fields.get("model name", "unknown CPU")
    bfloat16 = " with avx512_bf16" if "avx512_bf16" in fields.get("flags", "").split() else ""  # precision auto uses it
    busy = f"; BUSY BEFORE THE START (load average {_LOAD:.1f}): not worth comparing" if _LOAD > 0.5 else ""
    return f"{os.cpu_count()} x {model}{bfloat16}{busy}"


def _commit():
    def git(*args):
        return subprocess.run(["git", *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              check=False).stdout.strip()
    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def heading(what):
    """The head of a report: what, the date, the machine, and the commit that is checked out."""
    return f"{what}; {datetime.date.today()}, {machine()}, commit {_commit()}\n"


def table(columns, rows):
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
