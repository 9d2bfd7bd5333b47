"""Classifying beside training, cancelling, and what operators see of both."""
import time
import unittest

import fixture
import pictures
import prometheus
from service import PATIENCE, Watch

METRICS = {
    "graft_rpc_requests_total": "counter", "graft_rpc_duration_seconds": "histogram",
    "graft_classify_requests_total": "counter", "graft_classify_images_total": "counter",
    "graft_classify_duration_seconds": "histogram", "graft_epochs_total": "counter",
    "graft_job_train_loss": "gauge", "graft_job_train_accuracy": "gauge", "graft_job_val_loss": "gauge",
    "graft_job_val_accuracy": "gauge", "graft_job_epoch": "gauge", "graft_jobs": "gauge",
    "graft_queued_images": "gauge", "graft_queued_bytes": "gauge", "graft_batches_total": "counter",
    "graft_batched_images_total": "counter", "graft_device_busy_seconds_total": "counter",
    "graft_device_threads": "gauge", "graft_models_loaded": "gauge", "graft_models_loaded_bytes": "gauge",
    "process_cpu_seconds_total": "counter", "process_resident_memory_bytes": "gauge",
}


class ServingTest(fixture.ServiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.train("--dataset", "colors", *fixture.FROZEN_HEAD, "--model", "hues")
        cls.files = pictures.write_folder(cls.path("held-out"), 3, first_seed=1000)

    def metrics(self):
        status, text = self.service.get("/metrics")
        self.assertEqual(status, 200)
        return prometheus.parse(text)

    def value(self, name, **labels):
        values = [v for _, got, v in self.metrics()[name][1] if labels.items() <= got.items()]
        self.assertEqual(len(values), 1, f"{name} {labels}")
        return values[0]

    def run_beside_job(self, act):
        """Calls `act(job_id)` while a job trains; then cancels the job and returns its watch's exit status."""
        job_id = self.start_job("--dataset", "colors", *fixture.ENDLESS)
        with Watch(self.service, job_id) as watch:
            watch.wait_for_epochs(1, "fine-tune")
            act(job_id)
            self.assertEqual(self.service.job(job_id)["state"], "JOB_STATE_RUNNING")
            start = time.monotonic()
            self.service.json("job", "cancel", job_id)
            status = watch.wait_for_end()
            self.assertLess(time.monotonic() - start, 3 * PATIENCE)
            self.assertEqual(fixture.states(watch.events())[-1], "CANCELLED")
            self.assertIn(f"job {job_id} cancelled", watch.errors())
        self.assertEqual(self.service.job(job_id)["state"], "JOB_STATE_CANCELLED")
        return status

    def test_running_job_is_cancelled_in_time_and_its_watch_fails(self):
        self.assertEqual(self.run_beside_job(lambda job_id: None), 1)

    def test_classify_answers_while_a_job_trains(self):
        def classify(job_id):
            for _ in range(5):
                answers = self.service.json("classify", "--model", "hues", *self.files)
                self.assertEqual([a["predictions"][0]["label"] for a in answers], list(self.files.values()))
        self.run_beside_job(classify)

    def test_queued_job_is_cancelled_without_having_run(self):
        def cancel_queued(job_id):
            queued = self.start_job("--dataset", "colors", *fixture.FROZEN_HEAD)
            self.assertEqual(self.service.json("job", "cancel", queued)[0]["state"], "JOB_STATE_CANCELLED")
            watch = self.service.graft("--json", "job", "watch", queued)
            self.assertEqual((watch.status, fixture.states(watch.json_lines())), (1, ["QUEUED", "CANCELLED"]))
        self.run_beside_job(cancel_queued)

    def test_metrics_are_well_formed_and_all_there(self):
        self.service.json("classify", "--model", "hues", *self.files)
        self.run_beside_job(self.check_metrics)

    def check_metrics(self, job_id):
        metrics = self.metrics()
        self.assertEqual({name: metrics.get(name, ("missing",))[0] for name in METRICS}, METRICS)
        for name, (kind, samples) in metrics.items():
            for labels, buckets, count in prometheus.histograms(name, samples) if kind == "histogram" else ():
                self.assertEqual(buckets, sorted(buckets), f"{name} {labels}")
                self.assertEqual(buckets[-1], count, f"{name} {labels}")
        self.assertGreaterEqual(self.value("graft_job_epoch", job=job_id), 1)
        self.assertEqual(self.value("graft_jobs", state="running"), 1)
        self.assertEqual(self.value("graft_models_loaded"), 1)

    def test_classified_pictures_are_counted(self):
        self.service.json("classify", "--model", "hues", *self.files)
        labels = {"model": "hues", "version": "1"}
        before = self.value("graft_classify_images_total", **labels)
        self.service.json("classify", "--model", "hues", *self.files)
        self.assertEqual(self.value("graft_classify_images_total", **labels) - before, len(self.files))

    def test_ended_jobs_leave_no_series(self):
        self.run_beside_job(lambda job_id: None)
        self.assertEqual(self.metrics()["graft_job_epoch"][1] if "graft_job_epoch" in self.metrics() else [], [])

    def test_health_and_readiness(self):
        self.assertEqual(self.service.get("/healthz"), (200, "ok\n"))
        self.assertEqual(self.service.get("/readyz"), (200, "ok\n"))
        self.assertEqual(self.service.get("/nothing")[0], 404)


if __name__ == "__main__":
    unittest.main()
