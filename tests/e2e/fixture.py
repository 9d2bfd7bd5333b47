"""What the tests share: folders of pictures and weights, and one service for the tests of a class."""
import os
import pathlib
import tempfile
import unittest

import pictures
import weights
from service import Service

FROZEN_HEAD = ("--backbone", weights.NAME, "--strategy", "frozen-head")
# Few trained stages over few pictures: an epoch takes a fraction of a second.
FINE_TUNE = ("--backbone", weights.NAME, "--strategy", "fine-tune", "--unfreeze-stages", "2", "--head-epochs", "2")
ENDLESS = (*FINE_TUNE, "--epochs", "10000")
# Every kind of setting is on; small pictures, so that an epoch takes a fraction of a second.
EVERYTHING = f"""
dataset: colors
backbone: {weights.NAME}
strategy: fine-tune
epochs: 8
batch_size: 8
accumulate_batches: 2
learning_rate: 0.005
seed: 3
input_px: 64
class_balance: sampling
precision: float32
checkpoint_seconds: 1
fine_tune: {{head_epochs: 20, unfreeze_from: features.11, stage_decay: 0.5}}
head: {{type: mlp, hidden_width: 32, dropout: 0.2}}
optimizer: {{type: adamw, beta1: 0.8, weight_decay: 0.02}}
schedule: {{type: cosine, warmup_epochs: 0.5}}
regularization:
  {{label_smoothing: 0.1, clip_norm: 1, l2_sp: 0.01, ema_decay: 0.9, mixup_alpha: 0.2, cutmix_alpha: 0.2}}
augmentation: {{preset: keras, views: 2, erase: 0.1}}
early_stopping: {{patience: 6, metric: accuracy, holdout: 0.25}}
evaluation: {{folds: 3, precision_target: 0.9, learning_curve: 3}}
"""


class ServiceTest(unittest.TestCase):
    """Has `folder` for its files, and `service` over `data_dir`, where the dataset "colors" is uploaded."""

    per_class = 20

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="graft-e2e-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.backbone_dir = cls.make_folder("backbones")
        weights.write(cls.backbone_dir)
        cls.data_dir = cls.make_folder("data")
        pictures.write_zip(cls.path("colors.zip"), cls.per_class)
        cls.start_service()
        cls.addClassCleanup(lambda: cls.service.__exit__())
        cls.service.json("dataset", "upload", cls.path("colors.zip"), "--name", "colors")

    @classmethod
    def start_service(cls, **options):
        cls.service = Service(cls.data_dir, cls.backbone_dir, **options)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def make_folder(cls, name):
        os.makedirs(cls.path(name))
        return cls.path(name)

    @classmethod
    def train(cls, *args):
        """Trains to the end; returns the events and the finished job."""
        *events, last = cls.service.json("train", "--wait", *args)
        return events, last["job"]

    @classmethod
    def start_job(cls, *args):
        """Returns the id of a job that has been queued."""
        return cls.service.json("train", *args)[0]["job"]["id"]

    @classmethod
    def versions_of(cls, job, model):
        """The model's versions that a job made, newest first: two when early stopping went back to an earlier epoch."""
        return [int(v["version"]) for v in cls.service.json("model", "show", model)[0]["versions"]
                if v["job_id"] == job["id"]]

    def refused(self, result, *texts, status=1):
        """Asserts that a command failed with a message that holds all of `texts`, and printed no result."""
        self.assertEqual((result.status, result.out), (status, ""), result.err)
        for text in texts:
            self.assertIn(text, result.err)


def checkpoints(data_dir):
    """The stored checkpoint files, which are named by their content."""
    files = [f for f in pathlib.Path(data_dir, "blobs").rglob("*") if f.is_file()]
    return [f for f in files if b"golden.logits" in f.read_bytes()[:65536]]


def states(events):
    return [e["state"]["state"].replace("JOB_STATE_", "") for e in events if "state" in e]


def epochs(events, phase):
    return [e["epoch"] for e in events if "epoch" in e and e["epoch"]["phase"] == phase]
