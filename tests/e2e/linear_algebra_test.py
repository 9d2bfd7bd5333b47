"""Which of OpenBLAS's kernels graftd computes with: its own choice, and the user's."""
import os
import re
import tempfile
import unittest

from service import Service

VARIABLE = "OPENBLAS_CORETYPE"
FALLBACK = "Prescott"  # what OpenBLAS takes on a CPU that it does not know
_KERNELS = re.compile(r" linear algebra openblas_kernels=(\S+)$", re.MULTILINE)


def cpu_flags():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        lines = [line for line in f if line.startswith("flags")]  # not so called on ARM
    return set(lines[0].split(":")[1].split()) if lines else set()


@unittest.skipUnless({"avx2", "fma"} <= cpu_flags(), "the CPU has no AVX2")
class LinearAlgebraTest(unittest.TestCase):
    def kernels(self, chosen=None):
        """What a graftd says that it uses, with VARIABLE set to `chosen` or not set."""
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        if chosen is not None:
            environment[VARIABLE] = chosen
        with tempfile.TemporaryDirectory(prefix="graft-e2e-") as folder:
            data_dir, backbone_dir = os.path.join(folder, "data"), os.path.join(folder, "backbones")
            os.mkdir(backbone_dir)
            with Service(data_dir, backbone_dir, environment=environment) as service:
                # What serves is the process that was started: it is there, and hears the signal.
                self.assertIsNone(service.process.poll(), service.log())
                status, _ = service.stop()
        self.assertEqual(status, 0, service.log())
        self.assertIn("graftd has shut down", service.log())
        said = _KERNELS.findall(service.log())
        self.assertEqual(len(said), 1, service.log())
        if said[0] == '""':
            self.skipTest("graftd computes with another BLAS than OpenBLAS")
        return said[0]

    def test_oldest_kernels_are_replaced(self):
        self.assertNotEqual(self.kernels(), FALLBACK)

    def test_users_choice_stays(self):
        self.assertEqual(self.kernels(FALLBACK), FALLBACK)


if __name__ == "__main__":
    unittest.main()
