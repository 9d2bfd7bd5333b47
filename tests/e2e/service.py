"""graftd as a child process, and the graft command talking to it.

GRAFTD and GRAFT name the two programs under test.
"""
import ctypes
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

GRAFTD = os.environ.get("GRAFTD", "graftd")
GRAFT = os.environ.get("GRAFT", "graft")
START_SECONDS = 120  # under a sanitizer a start takes tens of seconds
COMMAND_SECONDS = 600
PATIENCE = float(os.environ.get("PATIENCE", "1"))  # factor of the limits that tests assert; more under a sanitizer

_SERVES = re.compile(r"graftd serves .*grpc_address=(\S+) http_address=(\S+)")


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with_parent():
    """In the child: a test that is killed, as by ctest's time limit, leaves no server behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Result:
    """What one run of the graft command gave."""

    def __init__(self, process):
        self.status, self.out, self.err = process.returncode, process.stdout, process.stderr

    def json_lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


class Service:
    """One graftd on free ports. `data_dir` outlives it, so that a second one can go on with it.

    `environment` takes the place of the test's own.
    """

    def __init__(self, data_dir, backbone_dir, *options, grpc_address="127.0.0.1:0", environment=None):
        self._log, self._lines = threading.Condition(), []
        self.process = subprocess.Popen(
            [GRAFTD, "--data-dir", data_dir, "--backbone-dir", backbone_dir, "--grpc-address", grpc_address,
             "--http-address", "127.0.0.1:0", *options],
            env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=_die_with_parent)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self.grpc_address, self.http_address = self._wait_for_addresses()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.kill()

    def _read_log(self):
        with self.process.stderr as stderr:
            for line in stderr:
                with self._log:
                    self._lines.append(line)
                    self._log.notify_all()

    def log(self):
        with self._log:
            return "".join(self._lines)

    def _wait_for_addresses(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = _SERVES.search(self.log())
            if found:
                return found.groups()
            if self.process.poll() is not None:
                self._reader.join()
                raise AssertionError(f"graftd ended with status {self.process.returncode}:\n{self.log()}")
            with self._log:
                self._log.wait(0.1)
        self.kill()
        raise AssertionError(f"graftd does not serve after {START_SECONDS} s:\n{self.log()}")

    def stop(self):
        """Asks it to end. Returns its exit status and the seconds it took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=COMMAND_SECONDS)
        self._reader.join()
        return status, time.monotonic() - start

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def arguments(self, *args):
        return [GRAFT, "--server", self.grpc_address, *args]

    def graft(self, *args):
        """Runs the graft command to its end, whatever its exit status; the server must survive it."""
        result = Result(subprocess.run(self.arguments(*args), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                       timeout=COMMAND_SECONDS, check=False))
        if self.process.poll() is not None:
            self._reader.join()
            raise AssertionError(f"graft {' '.join(args)}: graftd ended with status {self.process.returncode}\n"
                                 f"{result.err}\nserver:\n{self.log()}")
        return result

    def json(self, *args):
        """The objects that a command with --json prints; it must succeed."""
        result = self.graft("--json", *args)
        if result.status != 0:
            raise AssertionError(f"graft {' '.join(args)}: status {result.status}\n{result.err}\nserver:\n{self.log()}")
        return result.json_lines()

    def job(self, job_id):
        return self.json("job", "show", job_id)[0]

    def get(self, path):
        """Status and body of an HTTP GET."""
        try:
            with urllib.request.urlopen(f"http://{self.http_address}{path}", timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


class Watch:
    """A `graft job watch` that runs beside the test and collects the job's events."""

    def __init__(self, service, job_id, from_seq=1):
        self._changed, self._events = threading.Condition(), []
        self._errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            service.arguments("--json", "job", "watch", job_id, "--from-seq", str(from_seq)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            preexec_fn=_die_with_parent)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.kill()
        self._errors.close()

    def _read(self):
        with self.process.stdout as stdout:
            for line in stdout:
                if not line.endswith("\n"):
                    break  # killed in the middle of a line
                with self._changed:
                    self._events.append(json.loads(line))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def events(self):
        with self._changed:
            return list(self._events)

    def wait_for(self, wanted):
        """Waits until `wanted(events)`; fails when the watch ends before that."""
        deadline = time.monotonic() + COMMAND_SECONDS
        while not wanted(self.events()):
            if not self._reader.is_alive() and not wanted(self.events()):
                raise AssertionError(f"the watch ended: {self.errors()}\n{self.events()[-3:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not seen in {COMMAND_SECONDS} s: {self.events()[-3:]}")
            with self._changed:
                self._changed.wait(0.05)

    def wait_for_epochs(self, count, phase):
        self.wait_for(lambda events: sum(e["epoch"]["phase"] == phase for e in events if "epoch" in e) >= count)

    def wait_for_end(self):
        """Exit status of the watch, which ends with the job."""
        status = self.process.wait(timeout=COMMAND_SECONDS)
        self._reader.join()
        return status

    def errors(self):
        self._errors.seek(0)
        return self._errors.read()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
