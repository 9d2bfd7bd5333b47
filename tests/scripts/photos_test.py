import os
import subprocess
import tempfile
import unittest

import paths  # noqa: F401

import photos


class PhotosTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def put(self, path, data):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def files(self, path):
        top = os.path.join(self.folder, path)
        return sorted(os.path.relpath(os.path.join(d, n), top) for d, _, names in os.walk(top) for n in names)

    def test_only_photographs_of_the_five_classes_are_taken_from_the_package(self):
        top = photos.STAMPS
        self.assertEqual(photos.stamp_name(top + "animals/birds/owl.png"), ("animals", "birds-owl.png"))
        for path in ("animals/birds/cartoon/owl.png", "animals/toys/duck.png", "food/plastic/egg.png", "food/pie.ogg",
                     "vehicles/sedan_mirror.png", "symbols/money/cent.png", "animals/owl.svg", "animals/owl.dat"):
            self.assertIsNone(photos.stamp_name(top + path), path)
        self.assertIsNone(photos.stamp_name("./etc/animals/owl.png"))

    def test_pictures_are_kept_back_evenly_and_always_the_same(self):
        pictures = {label: {f"{i}.png": f"{label}{i}".encode() for i in range(8)} for label in ("cat", "dog")}
        counts = photos.lay_out(pictures, os.path.join(self.folder, "out"), 2)
        self.assertEqual(counts, {"cat": (6, 2), "dog": (6, 2)})
        self.assertEqual(self.files("out/held-out"), ["cat/2.png", "cat/6.png", "dog/2.png", "dog/6.png"])
        self.assertEqual(len(self.files("out/train-set")), 12)
        self.assertEqual(sorted(os.listdir(os.path.join(self.folder, "out"))), ["held-out", "train-set"])

    def test_same_bytes_are_written_once(self):
        pictures = {"cat": {f"{i}.png": b"same" if i < 3 else bytes([i]) for i in range(6)}, "dog": {"a.png": b"dog"}}
        self.assertEqual(photos.lay_out(pictures, os.path.join(self.folder, "out"), 0), {"cat": (4, 0), "dog": (1, 0)})

    def test_small_class_keeps_its_pictures_for_training(self):
        pictures = {"cat": {f"{i}.png": bytes([i]) for i in range(4)}, "dog": {"a.png": b"a", "b.png": b"b"}}
        self.assertEqual(photos.lay_out(pictures, os.path.join(self.folder, "out"), 2), {"cat": (3, 1), "dog": (2, 0)})

    def test_own_folder(self):
        for path in ("cat/1.jpg", "cat/more/1.JPG", "dog/2.png", "dog/notes.txt", "dog/.hidden.png", ".git/x.png"):
            self.put("own/" + path, path.encode())
        counts = photos.lay_out(photos.from_folder(os.path.join(self.folder, "own")), os.path.join(self.folder, "out"), 2)
        self.assertEqual(counts, {"cat": (2, 0), "dog": (1, 0)})
        self.assertEqual(self.files("out/train-set"), ["cat/1.jpg", "cat/more-1.JPG", "dog/2.png"])

    def test_unusable_folders_are_refused(self):
        self.put("empty/cat/readme.txt", b"x")
        self.put("split/train/cat/1.jpg", b"x")
        self.put("single/cat/1.jpg", b"x")
        for name, message in (("empty", "class 'cat': got no pictures"), ("split", "try .*split/train"),
                              ("single", "got 1 classes"), ("absent", "want a folder of class folders")):
            with self.assertRaisesRegex(photos.PhotosError, message):
                photos.lay_out(photos.from_folder(os.path.join(self.folder, name)), os.path.join(self.folder, "out"), 2)

    def test_package_is_read_without_unpacking(self):
        for path in ("animals/a.png", "food/b.png", "plants/c.png", "vehicles/d.png", "household/e.png", "animals/a.ogg"):
            self.put("deb/usr/share/tuxpaint/stamps/" + path, path.encode())
        self.put("deb/DEBIAN/control", b"Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n")
        deb = os.path.join(self.folder, "x.deb")
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", os.path.join(self.folder, "deb"), deb], check=True,
                       stdout=subprocess.DEVNULL)
        classes = photos.from_deb(deb)
        self.assertEqual(classes["animals"], {"a.png": b"animals/a.png"})
        self.assertEqual(sorted(classes), sorted(photos.STAMP_CLASSES))


if __name__ == "__main__":
    unittest.main()
