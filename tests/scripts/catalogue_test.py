import re
import unittest

import paths  # noqa: F401

from catalogue import BACKBONES, HALF, TORCHVISION

try:
    import torchvision
except ImportError:
    torchvision = None

# torchvision before 0.17 names these with checksums that are not the files' (pytorch/vision pull request 8036).
RENAMED = ("efficientnet_b0", "efficientnet_b2", "efficientnet_b3")


class CatalogueTest(unittest.TestCase):
    def test_entries_are_well_formed(self):
        for name, entry in BACKBONES.items():
            with self.subTest(name):
                self.assertRegex(name, r"^[a-z0-9_]+$")
                self.assertRegex(entry.publisher.base, r"^https://.*/$")
                self.assertRegex(entry.checksum, r"^([0-9a-f]{8,9}|[0-9a-f]{64})$")
                self.assertGreaterEqual(entry.resize_px, entry.crop_px)
                self.assertIn(entry.interpolation, ("bilinear", "bicubic"))
                for numbers in (entry.mean, entry.std):
                    self.assertEqual(len([float(n) for n in numbers.split(",")]), 3)


@unittest.skipUnless(torchvision, "python3-torchvision is not installed")
class CatalogueAgainstTorchvisionTest(unittest.TestCase):
    def test_files_and_preprocessing_are_torchvisions(self):
        for name, entry in BACKBONES.items():
            if entry.publisher is not TORCHVISION:
                continue
            with self.subTest(name):
                weights = torchvision.models.get_model_weights(name).DEFAULT
                url, want = entry.publisher.base + entry.file, weights.url
                if name in RENAMED:
                    url, want = (re.sub(r"-[0-9a-f]{8}\.pth$", "", address) for address in (url, want))
                self.assertEqual(url, want)
                transforms = weights.transforms()
                self.assertEqual(([entry.resize_px], [entry.crop_px], entry.interpolation),
                                 (transforms.resize_size, transforms.crop_size, transforms.interpolation.value))
                numbers = ",".join(map(str, transforms.mean)), ",".join(map(str, transforms.std))
                self.assertEqual((entry.mean, entry.std), (HALF, HALF) if name == "inception_v3" else numbers)
                self.assertEqual(len(weights.meta["categories"]), 1000)


if __name__ == "__main__":
    unittest.main()
