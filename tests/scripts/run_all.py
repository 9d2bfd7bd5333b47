"""Runs the tests of this folder and writes "PASSED FAILED SKIPPED" to the file named by the first argument."""
import os
import sys
import unittest

here = os.path.dirname(os.path.abspath(__file__))
result = unittest.TextTestRunner(verbosity=1).run(unittest.defaultTestLoader.discover(here, "*_test.py", here))
failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
with open(sys.argv[1], "w", encoding="ascii") as f:
    f.write(f"{result.testsRun - failed - skipped} {failed} {skipped}\n")
