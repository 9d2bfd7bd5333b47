"""Backbones as they are, on real photos: GRAFT_SHARED names the folder that holds weights/.

Exits with status 77 (skipped) without it, and fails when GRAFT_REQUIRE_SHARED is set.
"""
import os
import sys
import tempfile
import unittest

import pictures
from service import Service

SHARED = os.environ.get("GRAFT_SHARED", "")
WEIGHTS = os.path.join(SHARED, "weights", "mobilenet_v2.safetensors")
PHOTOS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden", "photos")
CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}  # ImageNet's domestic cats
SKIPPED = 77


class BackbonesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="graft-e2e-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        backbones = os.path.join(cls.folder, "backbones")
        os.makedirs(backbones)
        os.symlink(os.path.abspath(WEIGHTS), os.path.join(backbones, os.path.basename(WEIGHTS)))
        cls.service = Service(os.path.join(cls.folder, "data"), backbones)
        cls.addClassCleanup(lambda: cls.service.__exit__())

    def best(self, photo):
        answer = self.service.json("classify", "--model", "backbone/mobilenet_v2", "--top-k", "5",
                                   os.path.join(PHOTOS, photo))[0]
        self.assertEqual(answer["model"], "backbone/mobilenet_v2")
        return {p["label"]: p["probability"] for p in answer["predictions"]}

    def test_a_cat_is_a_cat(self):
        best = self.best("cat.jpg")
        self.assertIn(max(best, key=best.get), CATS)
        self.assertGreater(sum(p for label, p in best.items() if label in CATS), 0.9)

    def test_a_coffee_is_a_coffee(self):
        best = self.best("espresso.jpg")
        self.assertEqual(max(best, key=best.get), "espresso")
        self.assertGreater(best["espresso"], 0.8)

    def test_backbones_are_listed_with_what_a_user_chooses_by(self):
        listed = {b["name"]: b for b in self.service.json("backbone", "list")}
        installed = listed["mobilenet_v2"]
        self.assertTrue(installed["installed"])
        self.assertEqual((installed["class_count"], installed["feature_width"]), (1000, 1280))
        self.assertFalse(listed["resnet50"].get("installed", False))
        self.assertEqual(int(listed["resnet50"]["published_parameter_count"]), 25557032)
        self.assertAlmostEqual(listed["resnet50"]["gflops"], 4.09, places=1)

    def test_the_small_convnet_learns_from_scratch_without_weights(self):
        archive = os.path.join(self.folder, "colors.zip")
        pictures.write_zip(archive, 20)
        self.service.json("dataset", "upload", archive, "--name", "colors")
        *_, last = self.service.json("train", "--wait", "--dataset", "colors", "--backbone", "small_convnet",
                                     "--strategy", "scratch", "--epochs", "3", "--model", "scratch")
        counts = last["job"]["parameters"]
        self.assertEqual(int(counts["trainable_backbone"]), 1212448)
        self.assertEqual(int(counts.get("frozen", 0)), 0)
        self.assertGreater(last["job"]["evaluation"]["accuracy"], 0.9)  # plain colours
        answer = self.service.json("classify", "--model", "scratch", os.path.join(PHOTOS, "cat.jpg"))[0]
        self.assertEqual(answer["model"], "scratch/1")


if __name__ == "__main__":
    if not os.path.exists(WEIGHTS):
        print("backbones_test: GRAFT_SHARED names no folder with weights/: skipped")
        sys.exit(1 if os.environ.get("GRAFT_REQUIRE_SHARED") else SKIPPED)
    unittest.main()
