"""scripts/setup and scripts/quickstart with stand-ins for apt-get, cmake, graftd and graft on a PATH of the test's own."""
import os
import shutil
import subprocess
import tempfile
import unittest

import paths

GRAFTD = """#!/bin/sh
echo $$ > "$CALLS.pid"
echo "graftd $*" >> "$CALLS"
[ -z "${GRAFTD_FAILS:-}" ] || { echo "cannot bind" >&2; exit 3; }
echo 'listening grpc_address=127.0.0.1:4001 http_address=127.0.0.1:4002' >&2
trap 'echo "graftd stopped" >> "$CALLS"; exit 0' TERM
while :; do sleep 0.05; done
"""
GRAFT = """#!/bin/sh
echo "graft $*" >> "$CALLS"
case " $* " in *" ${GRAFT_FAILS:-none} "*) exit 7 ;; esac
"""


class ShellScriptTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.bin = os.path.join(self.folder, "bin")
        self.calls = os.path.join(self.folder, "calls")
        self.project = os.path.join(self.folder, "project")
        shutil.copytree(paths.SCRIPTS, os.path.join(self.project, "scripts"))
        self.tool("dpkg-query", 'case " $MISSING " in *" $4 "*) exit 1 ;; esac; printf installed')
        self.tool("apt-get", 'echo "apt-get $*" >> "$CALLS"')
        self.tool("cmake", 'echo "cmake $*" >> "$CALLS"')

    def tool(self, name, body, folder=None):
        path = os.path.join(folder or self.bin, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(body if body.startswith("#!") else f"#!/bin/sh\n{body}\n")
        os.chmod(path, 0o755)

    def run_script(self, script, *arguments, path=None, **environment):
        environment = {**os.environ, "MISSING": "", "CALLS": self.calls, **environment,
                       "PATH": path or f"{self.bin}:{os.environ['PATH']}"}
        return subprocess.run([os.path.join(self.project, "scripts", script), *arguments], env=environment, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)

    def called(self):
        if not os.path.exists(self.calls):
            return []
        with open(self.calls, encoding="utf-8") as f:
            return f.read().splitlines()


class SetupTest(ShellScriptTest):
    def setUp(self):
        super().setUp()
        self.tool("id", "echo 0")

    def test_nothing_missing_calls_no_apt(self):
        for arguments in ((), ("--test",), ("--only", "run")):
            result = self.run_script("setup", *arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("all packages are installed", result.stdout)
        self.assertEqual(self.called(), [])

    def test_only_missing_packages_are_installed(self):
        result = self.run_script("setup", "--test", MISSING="cmake python3-torch npm")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([c for c in self.called() if " install " in c],
                         ["apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends cmake python3-torch"])

    def test_packages_of_the_tests_are_not_part_of_the_build(self):
        result = self.run_script("setup", MISSING="python3-torch npm libtorch1.13")
        self.assertIn("all packages are installed", result.stdout)
        self.assertEqual(self.called(), [])

    def test_removed_package_counts_as_missing(self):
        self.tool("dpkg-query", "printf config-files")
        self.run_script("setup", "--only", "npm")
        self.assertTrue(self.called()[-1].endswith("--no-install-recommends npm"))

    def test_failed_apt_fails(self):
        self.tool("apt-get", 'echo "apt-get $*" >> "$CALLS"; exit 100')
        result = self.run_script("setup", MISSING="cmake")
        self.assertEqual(result.returncode, 1)
        self.assertIn("could not install", result.stderr)

    def test_unknown_section_and_option_are_refused(self):
        self.assertIn("want build, test, npm or run", self.run_script("setup", "--only", "more").stderr)
        self.assertIn("got '--more'", self.run_script("setup", "--more").stderr)

    def test_not_root_and_no_sudo_says_so(self):
        self.tool("id", "echo 1000")
        for name in ("sh", "dirname", "awk", "env", "sed"):  # a PATH without sudo
            os.symlink(shutil.which(name), os.path.join(self.bin, name))
        result = self.run_script("setup", MISSING="cmake", path=self.bin)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("needs root", result.stderr)
        self.assertEqual(self.called(), [])


class QuickstartTest(ShellScriptTest):
    def setUp(self):
        super().setUp()
        release = os.path.join(self.project, "build", "release", "bin")
        self.tool("graftd", GRAFTD, release)
        self.tool("graft", GRAFT, release)
        self.data = os.path.join(self.folder, "data")
        os.makedirs(os.path.join(self.data, "backbones"))
        with open(os.path.join(self.data, "backbones", "mobilenet_v3_small.safetensors"), "wb") as f:
            f.write(b"there")
        self.own = os.path.join(self.folder, "own pictures")
        for label in ("cat", "dog"):
            os.makedirs(os.path.join(self.own, label))
            for i in range(5):
                with open(os.path.join(self.own, label, f"{label} {i}.jpg"), "w", encoding="utf-8") as f:
                    f.write(f"{label}{i}")

    def quickstart(self, **environment):
        return self.run_script("quickstart", "--dir", self.data, self.own, **environment)

    def assert_server_is_gone(self):
        with open(self.calls + ".pid", encoding="utf-8") as f, self.assertRaises(ProcessLookupError):
            os.kill(int(f.read()), 0)

    def test_trains_on_own_pictures_and_classifies_those_kept_back(self):
        result = self.quickstart()
        self.assertEqual(result.returncode, 0, result.stderr)
        calls = self.called()
        at = "graft --server 127.0.0.1:4001 "
        self.assertEqual([c.split()[0] for c in calls], ["cmake", "cmake", "graftd"] + ["graft"] * 5 + ["graftd"])
        self.assertIn("--target graftd graft", calls[1])
        self.assertIn("--grpc-address 127.0.0.1:0", calls[2])
        self.assertEqual(calls[3], at + f"dataset upload {self.data}/own-photos/train-set --name quickstart")
        self.assertIn("--strategy frozen-head", calls[4])
        self.assertIn("--strategy fine-tune", calls[5])
        kept = f"{self.data}/own-photos/held-out"
        self.assertEqual(calls[6], at + f"classify --model quickstart-tuned {kept}/cat/cat 1.jpg {kept}/cat/cat 3.jpg")
        self.assertEqual(calls[8], "graftd stopped")
        self.assertIn("Start it again", result.stdout)
        self.assert_server_is_gone()
        self.assertEqual(len(os.listdir(os.path.join(self.own, "cat"))), 5)

    def test_runs_twice(self):
        self.assertEqual(self.quickstart().returncode, 0)
        os.remove(os.path.join(self.own, "cat", "cat 0.jpg"))
        result = self.quickstart()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("cat: 3 pictures to train on, 1 kept back", result.stdout)

    def test_failed_job_stops_the_server_and_fails(self):
        result = self.quickstart(GRAFT_FAILS="train")
        self.assertEqual(result.returncode, 7)
        self.assertIn("stopped at 'Training a head", result.stderr)
        self.assertNotIn("Start it again", result.stdout)
        self.assert_server_is_gone()

    def test_server_that_does_not_start_is_reported(self):
        result = self.quickstart(GRAFTD_FAILS="1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot bind", result.stderr)
        self.assertIn("graftd did not start", result.stderr)


if __name__ == "__main__":
    unittest.main()
