"""Real photos on real pretrained weights: GRAFT_SHARED names the folder that holds data/ and weights/.

Exits with status 77 (skipped) without it, and fails when GRAFT_REQUIRE_SHARED is set.
"""
import datetime
import os
import sys
import tempfile
import unittest
import zipfile

from service import Service

SHARED = os.environ.get("GRAFT_SHARED", "")
PHOTOS = os.path.join(SHARED, "data", "trashnet.zip")
WEIGHTS = os.path.join(SHARED, "weights", "mobilenet_v3_small.safetensors")
SKIPPED = 77


def seconds_of_features(events):
    """From the phase's start to its first epoch's."""
    def time(event):
        return datetime.datetime.fromisoformat(event["time"])
    started = next(e for e in events if "phase" in e)
    epoch = next(e for e in events if "epoch" in e)
    return (time(epoch) - time(started)).total_seconds() - epoch["epoch"]["seconds"]


class PhotosTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="graft-e2e-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.service = Service(os.path.join(cls.folder, "data"), os.path.dirname(WEIGHTS))
        cls.addClassCleanup(lambda: cls.service.__exit__())
        cls.upload = cls.service.json("dataset", "upload", PHOTOS, "--name", "trashnet")[0]
        cls.left_out = [r["file_name"] for r in cls.upload["rejected"]]
        cls.events, cls.evaluation = cls.train()

    @classmethod
    def train(cls):
        *events, last = cls.service.json("train", "--wait", "--dataset", "trashnet", "--backbone", "mobilenet_v3_small",
                                         "--strategy", "frozen-head", "--model", "trash")
        return events, last["job"]["evaluation"]

    def test_every_photo_is_taken_but_those_with_two_labels(self):
        self.assertEqual(self.upload["dataset"]["image_count"], "2524")
        self.assertEqual(self.left_out, ["train/metal/metal91.jpg", "train/plastic/plastic332.jpg",
                                         "val/plastic/plastic152.jpg"])  # byte for byte in glass/ as well

    def test_features_of_pretrained_weights_tell_the_classes_apart(self):
        self.assertGreater(self.evaluation["accuracy"], 0.75)  # the largest class is 23 % of the photos
        self.assertLess(self.evaluation["accuracy_low"], self.evaluation["accuracy"])

    def test_second_training_reads_its_features_from_the_disk(self):
        events, evaluation = self.train()
        self.assertEqual(evaluation, self.evaluation)
        # Decoding and running the backbone take most of it; 3 leaves room for a machine that is busy with other things.
        self.assertLess(seconds_of_features(events) * 3, seconds_of_features(self.events))

    def test_mistakes_are_photos_of_the_evaluated_split(self):
        mistakes = self.evaluation["mistakes"]
        self.assertEqual(len(mistakes), 20)
        self.assertEqual([m["confidence"] for m in mistakes], sorted((m["confidence"] for m in mistakes), reverse=True))
        for mistake in mistakes:
            self.assertTrue(mistake["file_name"].startswith(f"val/{mistake['label']}/"), mistake)
            self.assertNotEqual(mistake["predicted"], mistake["label"])

    def test_probabilities_mean_what_they_say(self):
        self.assertLess(self.evaluation["expected_calibration_error"], 0.1)
        self.assertGreater(self.evaluation["temperature"], 0)

    def test_serving_reproduces_the_evaluation(self):
        with zipfile.ZipFile(PHOTOS) as archive:
            photos = [n for n in archive.namelist() if n.startswith("val/") and n.endswith(".jpg")]
            names = [n for n in photos if n not in self.left_out]
            archive.extractall(self.folder, names)
        answers = self.service.json("classify", "--model", "trash", *(os.path.join(self.folder, n) for n in names))
        classes = [c["name"] for c in self.evaluation["classes"]]
        confusion = [0] * len(classes) ** 2
        for name, answer in zip(names, answers):
            confusion[classes.index(name.split("/")[1]) * len(classes) + answer["predictions"][0]["class_index"]] += 1
        self.assertEqual(confusion, [int(n) for n in self.evaluation["confusion"]])


if __name__ == "__main__":
    if not (os.path.exists(PHOTOS) and os.path.exists(WEIGHTS)):
        print("photos_test: GRAFT_SHARED names no folder with data/trashnet.zip and weights/: skipped")
        sys.exit(1 if os.environ.get("GRAFT_REQUIRE_SHARED") else SKIPPED)
    unittest.main()
