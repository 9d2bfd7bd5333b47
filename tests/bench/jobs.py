"""Training jobs of a server under measurement: run to their end, and what their events tell."""
import contextlib
import datetime
import os
import pathlib
import shutil
import tempfile

_VIEW_EPOCHS = 4  # epochs that a kept view is used in: Augmentation.views in graft/v1/job.proto


class Run:
    """A job that has succeeded."""

    def __init__(self, events, job):
        self.events, self.job = events, job

    def seconds(self):
        """From RUNNING to SUCCEEDED."""
        return moment(self.events, "SUCCEEDED") - moment(self.events, "RUNNING")

    def last_phase(self):
        """Metrics of the last phase's epochs."""
        epochs = [e["epoch"] for e in self.events if "epoch" in e]
        return [e for e in epochs if e["phase"] == epochs[-1]["phase"]]

    def correct(self):
        """(right answers, pictures) of the evaluation."""
        n = int(self.job["evaluation"]["image_count"])
        return round(self.job["evaluation"].get("accuracy", 0) * n), n

    def accuracy(self):
        return self.job["evaluation"].get("accuracy", 0)

    def precision(self):
        return self.job["effective"]["precision"].replace("PRECISION_", "").lower()


def train(server, *options):
    """Starts a job and waits until it has succeeded."""
    *events, last = server.json("train", "--wait", *options)
    return Run(events, last["job"])


def seconds_of(text):
    """A timestamp of proto JSON as seconds since 1970."""
    whole, _, fraction = text.rstrip("Z").partition(".")  # nanoseconds: more digits than datetime takes
    return datetime.datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def moment(events, state):
    """When a job first came into a state."""
    return seconds_of(next(e["time"] for e in events if e.get("state", {}).get("state") == f"JOB_STATE_{state}"))


def split_by_view(epochs, views):
    """([epochs that computed the activations of a new view], [epochs that found them kept])."""
    fresh, kept, seen = [], [], set()
    for i, epoch in enumerate(epochs):
        view = i // (views * _VIEW_EPOCHS) * views + i % views if views else i
        (kept if view in seen else fresh).append(epoch)
        seen.add(view)
    return fresh, kept


def memory_mib(server):
    """VmHWM (peak), RssAnon and RssFile of the server. Source: proc(5)."""
    lines = pathlib.Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon", "RssFile")}


def checkpoints(data_dir):
    """Paths of the stored models' checkpoints."""
    return [f for f in pathlib.Path(data_dir, "blobs").rglob("*")
            if f.is_file() and b"golden.logits" in f.read_bytes()[:65536]]


def prepare(data_dir, weights, dataset, name):
    """A data directory with that dataset and nothing else; its server has stopped."""
    from service import Service
    with Service(data_dir, weights) as server:
        server.json("dataset", "upload", dataset, "--name", name)
        server.stop()
    return data_dir


@contextlib.contextmanager
def copy_of(data_dir):
    """A data directory for one run, so that nothing is kept from the one before."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=os.path.dirname(data_dir)) as folder:
        yield shutil.copytree(data_dir, os.path.join(folder, "data"))
