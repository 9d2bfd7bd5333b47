"""scripts/convert-weights and scripts/fetch-backbone as a user calls them, with a server on a free local port."""
import hashlib
import http.server
import math
import os
import subprocess
import sys
import tempfile
import threading
import unittest

import paths
import weight_files as files

import names
import safetensors
from tensors import Tensor

SHAPES = {name: tuple(3 if d is None else d for d in shape)
          for name, shape in names.expected_shapes("mobilenet_v3_small").items()}


def value_of(name):
    """A number that differs between tensors and is exact in float16."""
    return (hashlib.sha256(name.encode()).digest()[0] + 1) / 64


def backbone_gguf():
    """GGUF with torchvision's names in float16, as the npm package has it."""
    return files.gguf({name: (1, tuple(reversed(shape)), files.halves(value_of(name)) * math.prod(shape))
                       for name, shape in SHAPES.items()})


def backbone_pth():
    entries, storages = {}, {}
    for key, (name, shape) in enumerate(SHAPES.items()):
        count = math.prod(shape)
        strides = tuple(math.prod(shape[i + 1:]) for i in range(len(shape)))
        entries[name] = files.tensor(str(key), count, shape, strides)
        storages[str(key)] = files.floats(value_of(name)) * count
        if name.endswith("running_var"):  # as PyTorch has it after each; not part of a backbone
            counter = name.replace("running_var", "num_batches_tracked")
            entries[counter] = files.tensor(f"{key}n", 1, (), (), kind="LongStorage")
            storages[f"{key}n"] = b"\7" + b"\0" * 7
    return files.pth(files.state_dict(entries), storages)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"") + (100 if "short" in self.path else 0)))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


class BackboneScriptsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gguf, cls.pth = backbone_gguf(), backbone_pth()
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        cls.server.files = {"/whole.gguf": cls.gguf, "/short.gguf": cls.gguf[:-100], "/cut.gguf": cls.gguf[:-100]}
        cls.thread = threading.Thread(target=cls.server.serve_forever)
        cls.thread.start()
        cls.url = f"http://127.0.0.1:{cls.server.server_port}"

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.thread.join()
        cls.server.server_close()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_script(self, script, *arguments):
        environment = {**os.environ, "no_proxy": "127.0.0.1"}
        return subprocess.run([sys.executable, "-B", os.path.join(paths.SCRIPTS, script), *arguments], text=True,
                              capture_output=True, cwd=self.folder, env=environment, timeout=120, check=False)

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def check_backbone(self, path):
        with open(path, "rb") as f:
            tensors, metadata = safetensors.parse(f.read())
        self.assertEqual({name: t.shape for name, t in tensors.items()}, SHAPES)
        for name, t in tensors.items():
            self.assertEqual(t, Tensor("F32", SHAPES[name], files.floats(value_of(name)) * math.prod(SHAPES[name])))
        self.assertEqual(metadata["architecture"], "mobilenet_v3_small")
        return metadata

    def test_convert_takes_every_format_and_gives_the_same_tensors(self):
        for name, data in (("a.pth", self.pth), ("b.gguf", self.gguf)):
            result = self.run_script("convert-weights", self.file(name, data), "out.safetensors", "--source", "a test")
            self.assertEqual(result.returncode, 0, result.stderr)
            metadata = self.check_backbone(os.path.join(self.folder, "out.safetensors"))
            self.assertEqual(metadata, {"architecture": "mobilenet_v3_small", "mean": names.IMAGENET_MEAN,
                                        "std": names.IMAGENET_STD, "source": "a test"})
        os.rename(os.path.join(self.folder, "out.safetensors"), os.path.join(self.folder, "in.safetensors"))
        result = self.run_script("convert-weights", "in.safetensors", "out.safetensors", "--mean", ".5,0.5,.5")
        self.assertEqual(result.returncode, 0, result.stderr)
        metadata = self.check_backbone(os.path.join(self.folder, "out.safetensors"))
        self.assertEqual((metadata["mean"], metadata["source"]), ("0.5,0.5,0.5", "a test"))

    def test_convert_refuses_what_is_not_weights_and_writes_nothing(self):
        attack = files.pth(b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR.", {})
        for data, message in ((b"hello, world", "unknown format"), (attack, "refused os.system"),
                              (self.pth[:-1000], "damaged"), (b"", "unknown format")):
            result = self.run_script("convert-weights", self.file("in", data), "out.safetensors")
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)
            self.assertNotIn("Traceback", result.stderr)
            self.assertEqual(os.listdir(self.folder), ["in"])

    def test_convert_refuses_another_architectures_weights(self):
        result = self.run_script("convert-weights", self.file("a.gguf", self.gguf), "o", "--architecture", "mobilenet_v2")
        self.assertIn("want torchvision's names", result.stderr)

    def test_fetch_from_an_address(self):
        result = self.run_script("fetch-backbone", "mobilenet_v3_small", "--to", "to", "--from", self.url + "/whole.gguf")
        self.assertEqual(result.returncode, 0, result.stderr)
        metadata = self.check_backbone(os.path.join(self.folder, "to", "mobilenet_v3_small.safetensors"))
        self.assertEqual(metadata["source"], self.url + "/whole.gguf")
        self.assertIn("your own weights", result.stdout)

    def test_fetch_from_a_file(self):
        path = self.file("mine.pth", self.pth)
        result = self.run_script("fetch-backbone", "mobilenet_v3_small", "--to", "to", "--from", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.check_backbone(os.path.join(self.folder, "to", "mobilenet_v3_small.safetensors"))

    def test_partial_download_never_becomes_a_backbone(self):
        for path, message in (("/short.gguf", "that the server announced"), ("/cut.gguf", "gguf"), ("/none", "404")):
            result = self.run_script("fetch-backbone", "mobilenet_v3_small", "--to", "to", "--from", self.url + path)
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)
            self.assertNotIn("Traceback", result.stderr)
            self.assertFalse(os.path.exists(os.path.join(self.folder, "to")) and os.listdir(os.path.join(self.folder, "to")))

    def test_backbone_that_is_there_stays(self):
        path = self.file("mobilenet_v3_small.safetensors", b"mine")
        result = self.run_script("fetch-backbone", "mobilenet_v3_small", "--to", ".", "--from", self.url + "/whole.gguf")
        self.assertEqual(result.returncode, 0)
        self.assertIn("there already", result.stdout)
        with open(path, "rb") as f:
            self.assertEqual(f.read(), b"mine")


if __name__ == "__main__":
    unittest.main()
