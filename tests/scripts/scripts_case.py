"""What the tests of the Python scripts share: a folder of their own, and calling a script as a user does."""
import os
import subprocess
import sys
import tempfile
import unittest

import paths

import safetensors


class ScriptsCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_script(self, script, *arguments, **environment):
        environment = {**os.environ, "no_proxy": "127.0.0.1", **environment}
        return subprocess.run([sys.executable, "-B", os.path.join(paths.SCRIPTS, script), *arguments], text=True,
                              capture_output=True, cwd=self.folder, env=environment, timeout=120, check=False)

    def succeeds(self, *arguments, **environment):
        result = self.run_script(*arguments, **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def fails(self, message, *arguments, **environment):
        result = self.run_script(*arguments, **environment)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        self.assertIn(message, " ".join(result.stderr.split()))
        self.assertNotIn("Traceback", result.stderr)

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def read(self, *names):
        with open(os.path.join(self.folder, *names), "rb") as f:
            return f.read()

    def backbone(self, *names):
        """({name: Tensor}, {metadata}) of a safetensors file in the folder."""
        return safetensors.parse(self.read(*names))
