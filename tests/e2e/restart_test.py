"""What a job and its watchers see when the server dies or is told to stop in the middle of it."""
import pathlib
import unittest

import fixture
from service import PATIENCE, Watch

EPOCHS = 20
SPEC = ("--dataset", "colors", *fixture.FINE_TUNE, "--epochs", str(EPOCHS), "--seed", "7", "--model", "hues")
TIMINGS = {"images_per_second", "seconds", "eta_seconds"}


def results(epochs):
    """What training computed, by epoch: an epoch whose state was not yet stored when the server died runs twice."""
    return {e["epoch"]: {k: v for k, v in e.items() if k not in TIMINGS} for e in epochs}


def checkpoints(data_dir):
    files = [f for f in pathlib.Path(data_dir, "blobs").rglob("*") if f.is_file()]
    return [f for f in files if b"golden.logits" in f.read_bytes()[:65536]]


class RestartTest(fixture.ServiceTest):
    per_class = 32

    def seqs(self, events):
        return [int(e["seq"]) for e in events]

    def test_killed_server_goes_on_where_it_was_and_ends_the_same(self):
        job_id = self.start_job(*SPEC)
        address = self.service.grpc_address
        with Watch(self.service, job_id) as faithful, Watch(self.service, job_id) as first:
            first.wait_for_epochs(3, "fine-tune")
            self.service.kill()
            first.kill()
            seen = first.events()
            self.assertNotIn("SUCCEEDED", fixture.states(seen))
            self.start_service(grpc_address=address)
            with Watch(self.service, job_id, from_seq=self.seqs(seen)[-1] + 1) as second:
                self.assertEqual(second.wait_for_end(), 0, second.errors())
                later = second.events()
            self.assertEqual(faithful.wait_for_end(), 0, faithful.errors())
            self.assertIn("connection lost", faithful.errors())
            job = self.service.job(job_id)
            self.assertEqual(self.seqs(seen + later), list(range(1, int(job["last_seq"]) + 1)))
            self.assertEqual(faithful.events(), seen + later)
        self.assertEqual((job["state"], job["attempt"]), ("JOB_STATE_SUCCEEDED", 2))
        resumed = fixture.epochs(later, "fine-tune")
        self.assertGreaterEqual(resumed[0]["epoch"], fixture.epochs(seen, "fine-tune")[-1]["epoch"])
        self.assert_same_as_unbroken(job, seen + later)

    def assert_same_as_unbroken(self, job, events):
        unbroken_events, unbroken = self.train(*SPEC)
        self.assertEqual(job["evaluation"], unbroken["evaluation"])
        for phase in ("head", "fine-tune"):
            self.assertEqual(results(fixture.epochs(events, phase)), results(fixture.epochs(unbroken_events, phase)))
        # Blobs are named by content: two versions with equal bytes are one file.
        self.assertEqual((job["model_version"], unbroken["model_version"]), ("hues/1", "hues/2"))
        self.assertEqual(len(checkpoints(self.data_dir)), 1)


class DrainTest(fixture.ServiceTest):
    per_class = 32

    def test_stopped_server_puts_its_job_back_and_the_next_one_finishes_it(self):
        job_id = self.start_job(*SPEC)
        with Watch(self.service, job_id) as before:
            before.wait_for_epochs(3, "fine-tune")
            status, seconds = self.service.stop()
            before.kill()
        self.assertEqual(status, 0, self.service.log())
        self.assertLess(seconds, 15 * PATIENCE)
        self.start_service()
        with Watch(self.service, job_id) as watch:
            self.assertEqual(watch.wait_for_end(), 0, watch.errors())
            events = watch.events()
        self.assertEqual(fixture.states(events), ["QUEUED", "RUNNING", "QUEUED", "RUNNING", "SUCCEEDED"])
        self.assertEqual([e["state"]["reason"] for e in events if "state" in e][2], "drain")
        self.assertEqual(sorted(results(fixture.epochs(events, "fine-tune"))), list(range(1, EPOCHS + 1)))
        self.assertLessEqual(len(fixture.epochs(events, "fine-tune")), EPOCHS + 1)

    def test_idle_server_stops_at_once(self):
        status, seconds = self.service.stop()
        self.assertEqual(status, 0, self.service.log())
        self.assertLess(seconds, 5 * PATIENCE)
        self.start_service()


if __name__ == "__main__":
    unittest.main()
