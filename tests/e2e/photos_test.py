"""Real photos on real pretrained weights: GRAFT_SHARED names the folder that holds data/ and weights/.

Exits with status 77 (skipped) without it, and fails when GRAFT_REQUIRE_SHARED is set.
"""
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
        *_, last = cls.service.json("train", "--wait", "--dataset", "trashnet", "--backbone", "mobilenet_v3_small",
                                    "--strategy", "frozen-head", "--model", "trash")
        cls.evaluation = last["job"]["evaluation"]

    def test_every_photo_is_taken_but_those_with_two_labels(self):
        self.assertEqual(self.upload["dataset"]["image_count"], "2524")
        self.assertEqual(self.left_out, ["train/metal/metal91.jpg", "train/plastic/plastic332.jpg",
                                         "val/plastic/plastic152.jpg"])  # byte for byte in glass/ as well

    def test_features_of_pretrained_weights_tell_the_classes_apart(self):
        self.assertGreater(self.evaluation["accuracy"], 0.75)  # the largest class is 23 % of the photos
        self.assertLess(self.evaluation["accuracy_low"], self.evaluation["accuracy"])

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
