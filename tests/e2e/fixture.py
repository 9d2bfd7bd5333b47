"""What the tests share: folders of pictures and weights, and one service for the tests of a class."""
import os
import tempfile
import unittest

import pictures
import weights
from service import Service

FROZEN_HEAD = ("--backbone", weights.NAME, "--strategy", "frozen-head")
# Few trained stages over few pictures: an epoch takes a fraction of a second.
FINE_TUNE = ("--backbone", weights.NAME, "--strategy", "fine-tune", "--unfreeze-stages", "2", "--head-epochs", "2")
ENDLESS = (*FINE_TUNE, "--epochs", "10000")


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

    def refused(self, result, *texts, status=1):
        """Asserts that a command failed with a message that holds all of `texts`, and printed no result."""
        self.assertEqual((result.status, result.out), (status, ""), result.err)
        for text in texts:
            self.assertIn(text, result.err)


def states(events):
    return [e["state"]["state"].replace("JOB_STATE_", "") for e in events if "state" in e]


def epochs(events, phase):
    return [e["epoch"] for e in events if "epoch" in e and e["epoch"]["phase"] == phase]
