"""What a job and its watchers see when the server dies or is told to stop in the middle of it."""
import pathlib
import unittest

import fixture
from service import PATIENCE, Watch

EPOCHS = 20
SPEC = ("--dataset", "colors", *fixture.FINE_TUNE, "--epochs", str(EPOCHS), "--seed", "7", "--model", "hues")
# An epoch leaves a state when the last one is a tenth of this old.
CHECKPOINT_SECONDS = 1
OFTEN_SAVED = ("--set", f"checkpoint_seconds={CHECKPOINT_SECONDS}")
TIMINGS = {"images_per_second", "seconds", "eta_seconds"}


def saved(events):
    return [e["checkpoint"] for e in events if "checkpoint" in e]


def results(epochs):
    """What training computed, by epoch: epochs after the last state that was stored when the server died run twice."""
    return {e["epoch"]: {k: v for k, v in e.items() if k not in TIMINGS} for e in epochs}


class RestartTest(fixture.ServiceTest):
    per_class = 32

    def seqs(self, events):
        return [int(e["seq"]) for e in events]

    def kill_and_go_on(self, *spec):
        """Kills the server in the middle of a job. Returns the finished job, and the events before and after that."""
        job_id = self.start_job(*spec)
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
        return job, seen, later

    def test_killed_server_goes_on_where_it_was_and_ends_the_same(self):
        job, seen, later = self.kill_and_go_on(*SPEC, *OFTEN_SAVED)
        self.assert_little_was_lost(seen, later)
        self.assert_same_as_unbroken(job, seen + later, *SPEC, *OFTEN_SAVED)

    def test_killed_server_ends_the_same_with_everything_on(self):
        pathlib.Path(self.path("everything.yaml")).write_text(fixture.EVERYTHING, encoding="utf-8")
        spec = ("--spec", self.path("everything.yaml"), "--epochs", str(EPOCHS), "--early-stopping", str(EPOCHS),
                "--model", "hues")
        job, seen, later = self.kill_and_go_on(*spec)
        self.assert_little_was_lost(seen, later)
        self.assert_same_as_unbroken(job, seen + later, *spec)

    def test_killed_server_goes_on_from_an_older_state_when_states_are_rare(self):
        spec = (*SPEC, "--set", "checkpoint_seconds=86400")
        job, seen, later = self.kill_and_go_on(*spec)
        # Only the end of a phase leaves a state then.
        self.assertEqual({c["phase"] for c in saved(seen)}, {"head"})
        self.assertEqual(fixture.epochs(later, "fine-tune")[0]["epoch"], 1)
        self.assert_same_as_unbroken(job, seen + later, *spec)

    def assert_little_was_lost(self, seen, later):
        """The job went on from its last state, and that was as young as its spec wants."""
        last = saved(seen)[-1]
        done = last["epoch"] if last["phase"] == "fine-tune" else 0
        tuned = fixture.epochs(seen, "fine-tune")
        # The state is in its file before the event says so.
        self.assertIn(fixture.epochs(later, "fine-tune")[0]["epoch"], range(done + 1, tuned[-1]["epoch"] + 2))
        without_state = tuned[done:-1]  # the last one's may have been on its way
        self.assertLess(sum(e["seconds"] for e in without_state), CHECKPOINT_SECONDS / 10)

    def assert_same_as_unbroken(self, job, events, *spec):
        unbroken_events, unbroken = self.train(*spec)
        self.assertEqual(job["evaluation"], unbroken["evaluation"])
        for phase in ("head", "fine-tune"):
            self.assertEqual(results(fixture.epochs(events, phase)), results(fixture.epochs(unbroken_events, phase)))
        # Of one model, and blobs are named by content: two versions with equal bytes are one file.
        versions = self.versions_of(job, "hues")
        self.assertEqual(len(self.versions_of(unbroken, "hues")), len(versions))
        self.assertEqual(unbroken["model_version"], f"hues/{versions[0] + len(versions)}")
        self.assertEqual(len(fixture.checkpoints(self.data_dir)), (versions[0] + len(versions)) // 2)


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
        # However rare states are, a drained job loses nothing.
        self.assertEqual([e["epoch"] for e in fixture.epochs(events, "fine-tune")], list(range(1, EPOCHS + 1)))

    def test_idle_server_stops_at_once(self):
        status, seconds = self.service.stop()
        self.assertEqual(status, 0, self.service.log())
        self.assertLess(seconds, 5 * PATIENCE)
        self.start_service()


if __name__ == "__main__":
    unittest.main()
