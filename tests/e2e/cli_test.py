"""The whole path through the graft command: upload, train, look, name, classify."""
import hashlib
import os
import pathlib
import unittest

import fixture
import pictures
from service import Service

# Of an evaluation, what grows with the classes or is a list of pictures.
LONG_PARTS = ("classes", "confusion", "mistakes", "label_issues", "cross_validation", "learning_curve")
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden", "image")


class CliTest(fixture.ServiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.events, cls.job = cls.train("--dataset", "colors", *fixture.FROZEN_HEAD, "--model", "hues")
        cls.held_out = pictures.write_folder(cls.path("held-out"), 4, first_seed=1000)

    def classify(self, model):
        answers = self.service.json("classify", "--model", model, *self.held_out)
        self.assertEqual([a["file"] for a in answers], list(self.held_out))
        return answers

    def test_zip_upload_keeps_its_splits(self):
        dataset = self.service.json("dataset", "show", "colors")[0]
        self.assertEqual([(c["name"], c["train_count"], c["validation_count"]) for c in dataset["classes"]],
                         [("blue", "15", "5"), ("green", "15", "5"), ("red", "15", "5")])
        self.assertFalse(dataset["split_by_server"])

    def test_folder_upload_is_split_by_the_server_and_can_be_trained(self):
        pictures.write_folder(self.path("folder"), 10)
        upload = self.service.json("dataset", "upload", self.path("folder"), "--name", "from-folder")[0]
        self.assertEqual([(c["train_count"], c["validation_count"]) for c in upload["dataset"]["classes"]],
                         [("8", "2")] * 3)
        self.assertTrue(upload["dataset"]["split_by_server"])
        _, job = self.train("--dataset", "from-folder", *fixture.FROZEN_HEAD, "--epochs", "2")
        self.assertEqual(job["state"], "JOB_STATE_SUCCEEDED")
        self.assertEqual(job["model_version"], "")

    def test_events_are_numbered_and_tell_the_whole_story(self):
        self.assertEqual([int(e["seq"]) for e in self.events], list(range(1, int(self.job["last_seq"]) + 1)))
        self.assertEqual(fixture.states(self.events), ["QUEUED", "RUNNING", "SUCCEEDED"])
        self.assertEqual([e["epoch"] for e in fixture.epochs(self.events, "head")], list(range(1, 31)))
        evaluations = [e["evaluation"] for e in self.events if "evaluation" in e]
        self.assertEqual(evaluations, [self.job["evaluation"]])

    def with_long_parts(self, listed, shown):
        """What a list shows of a job or a version, with the parts that it must leave out taken from `shown`."""
        short = listed["evaluation"]
        self.assertFalse([k for k in LONG_PARTS if short.get(k)], "lists come without the long parts")
        long = {k: shown["evaluation"][k] for k in LONG_PARTS if k in shown["evaluation"]}
        return {**listed, "evaluation": {**short, **long}}

    def test_job_commands_agree_with_what_train_said(self):
        self.assertEqual(self.service.job(self.job["id"]), self.job)
        listed = {j["id"]: j for j in self.service.json("job", "list", "--state", "succeeded", "--limit", "0")}
        self.assertEqual(self.with_long_parts(listed[self.job["id"]], self.job), self.job)
        self.assertEqual(self.service.json("job", "watch", self.job["id"]), self.events)
        self.assertEqual(self.service.json("job", "watch", self.job["id"], "--from-seq", "5"), self.events[4:])

    def test_held_out_pictures_get_their_labels(self):
        for answer in self.classify("hues"):
            best = answer["predictions"][0]
            self.assertEqual(best["label"], self.held_out[answer["file"]])
            self.assertAlmostEqual(sum(p["probability"] for p in answer["predictions"]), 1, places=4)
            self.assertEqual(answer["model"], "hues/1")

    def test_grey_picture_is_classified_as_one_with_its_channel_repeated(self):
        with open(os.path.join(GOLDEN, "grey.png.ppm"), "rb") as f:  # what Pillow makes of it, P6
            _, width, height, _ = f.readline().split() + f.readline().split() + f.readline().split()
            rgb = f.read()
        with open(self.path("repeated.png"), "wb") as f:
            f.write(pictures.png(int(width), int(height), rgb))
        grey, repeated = self.service.json("classify", "--model", "hues", os.path.join(GOLDEN, "grey.png"),
                                           self.path("repeated.png"))
        self.assertEqual(rgb[0::3], rgb[1::3])
        for got, want in zip(grey["predictions"], repeated["predictions"]):
            self.assertEqual(got["label"], want["label"])
            self.assertAlmostEqual(got["probability"], want["probability"], places=5)

    def test_top_k_cuts_the_predictions(self):
        file = next(iter(self.held_out))
        answer = self.service.json("classify", "--model", "hues", "--top-k", "1", file)[0]
        self.assertEqual(len(answer["predictions"]), 1)

    def test_aliases_choose_the_version(self):
        self.train("--dataset", "colors", *fixture.FROZEN_HEAD, "--epochs", "3", "--model", "named")
        self.train("--dataset", "colors", *fixture.FROZEN_HEAD, "--epochs", "3", "--seed", "1", "--model", "named")
        model = self.service.json("model", "alias", "named", "canary", "2")[0]
        self.assertEqual([v["version"] for v in model["versions"]], ["2", "1"])
        self.assertEqual(model["aliases"]["canary"], "2")
        self.service.json("model", "alias", "named", "default", "1")
        self.assertEqual({a["model"] for a in self.classify("named@canary")}, {"named/2"})
        self.assertEqual({a["model"] for a in self.classify("named")}, {"named/1"})
        model = self.service.json("model", "alias", "named", "canary", "0")[0]
        self.assertEqual(model["aliases"], {"default": "1"})
        self.refused(self.service.graft("classify", "--model", "named@canary", *self.held_out), "canary")

    def test_models_are_listed_with_their_evaluation(self):
        listed = {m["name"]: m for m in self.service.json("model", "list")}
        shown = self.service.json("model", "show", "hues")[0]
        version = shown["versions"][0]
        whole = [self.with_long_parts(v, w) for v, w in zip(listed["hues"]["versions"], shown["versions"])]
        self.assertEqual({**listed["hues"], "versions": whole}, shown)
        self.assertEqual((version["job_id"], version["classes"]), (self.job["id"], ["blue", "green", "red"]))
        self.assertEqual(version["evaluation"], self.job["evaluation"])

    def test_server_and_backbones_describe_themselves(self):
        backbones = {b["name"]: b for b in self.service.json("backbone", "list")}
        self.assertTrue(backbones["mobilenet_v3_small"]["installed"])
        self.assertFalse(backbones["mobilenet_v2"]["installed"])
        self.assertEqual(self.service.json("backbone", "show", "mobilenet_v2"), [backbones["mobilenet_v2"]])
        self.assertTrue(self.service.json("server", "info")[0]["devices"])

    def test_job_with_an_input_size_makes_a_model_of_that_size(self):
        _, job = self.train("--dataset", "colors", *fixture.FROZEN_HEAD, "--epochs", "2", "--input-px", "64", "--model",
                            "small")
        self.assertEqual(job["effective"]["input_px"], 64)
        version = self.service.json("model", "show", "small")[0]["versions"][0]
        self.assertEqual(version["preprocessing"]["crop_px"], 64)
        self.classify("small")

    def test_training_from_scratch_needs_no_installed_backbone(self):
        _, job = self.train("--dataset", "colors", "--backbone", "mobilenet_v2", "--strategy", "scratch", "--model",
                            "scratched", "--epochs", "1", "--input-px", "32")
        self.assertEqual((job["state"], job["parameters"]["frozen"]), ("JOB_STATE_SUCCEEDED", "0"))
        self.classify("scratched")

    def test_backbone_without_a_classifier_says_what_to_do(self):
        file = next(iter(self.held_out))
        result = self.service.graft("classify", "--model", "backbone/mobilenet_v3_small", file)
        self.refused(result, "train a model on it")

    def test_text_output_has_a_line_for_each_thing(self):
        result = self.service.graft("job", "list", "--limit", "0")
        self.assertEqual((result.status, result.err), (0, ""))
        self.assertIn(self.job["id"], [line.split("\t")[0] for line in result.out.splitlines()])

    def test_job_that_fails_makes_the_command_fail_and_says_why(self):
        pictures.write_zip(self.path("lost.zip"), 8, first_seed=500)
        self.service.json("dataset", "upload", self.path("lost.zip"), "--name", "lost")
        digest = hashlib.sha256(pictures.picture("red", 500)).hexdigest()
        stored = [f for f in pathlib.Path(self.data_dir, "blobs").rglob("*") if digest.endswith(f.name) and f.is_file()]
        self.assertEqual(len(stored), 1)
        stored[0].unlink()
        result = self.service.graft("--json", "train", "--wait", "--dataset", "lost", *fixture.FROZEN_HEAD)
        self.assertEqual(result.status, 1)
        job = result.json_lines()[-1]["job"]
        self.assertEqual(job["state"], "JOB_STATE_FAILED")
        self.assertIn(digest, job["error"])
        self.assertIn(job["error"], result.err)

    def test_same_request_id_gives_the_same_job(self):
        args = ("--dataset", "colors", *fixture.FROZEN_HEAD, "--request-id", "once")
        first = self.start_job(*args, "--epochs", "2")
        self.assertEqual(self.start_job(*args, "--epochs", "2"), first)
        self.refused(self.service.graft("train", *args, "--epochs", "3"), "spec.epochs: got 3, want 2", first)


class BadInputTest(fixture.ServiceTest):
    per_class = 4

    def test_zip_that_leads_out_of_its_folder_is_refused(self):
        for name in ("../red/evil.png", "/red/evil.png", "red/../../evil.png"):
            pictures.write_zip(self.path("evil.zip"), 4, extra=[(name, pictures.picture("red", 1))])
            result = self.service.graft("dataset", "upload", self.path("evil.zip"), "--name", "evil")
            self.refused(result, name)
        self.refused(self.service.graft("dataset", "show", "evil"), "evil")
        self.assertFalse(list(pathlib.Path(self.folder).rglob("evil.png")))

    def test_bad_pictures_of_a_dataset_are_named_and_left_out(self):
        pictures.write_zip(self.path("mixed.zip"), 4, extra=[("train/red/broken.png", b"no picture")])
        upload = self.service.json("dataset", "upload", self.path("mixed.zip"), "--name", "mixed")[0]
        self.assertEqual([r["file_name"] for r in upload["rejected"]], ["train/red/broken.png"])
        self.assertEqual(upload["dataset"]["image_count"], "12")

    def test_corrupt_picture_is_named_and_the_others_are_classified(self):
        self.train("--dataset", "colors", *fixture.FROZEN_HEAD, "--epochs", "1", "--model", "hues")
        good, broken = self.path("good.png"), self.path("broken.png")
        for path, data in ((good, pictures.picture("red", 1)), (broken, pictures.picture("red", 2)[:-2000])):
            pathlib.Path(path).write_bytes(data)
        result = self.service.graft("--json", "classify", "--model", "hues", broken, good)
        self.assertEqual(result.status, 1)
        self.assertIn(broken, result.err)
        self.assertEqual([a["file"] for a in result.json_lines()], [good])

    def test_unknown_names_are_named(self):
        file = self.path("picture.png")
        pathlib.Path(file).write_bytes(pictures.picture("red", 1))
        self.refused(self.service.graft("classify", "--model", "nobody", file), "nobody")
        self.refused(self.service.graft("model", "show", "nobody"), "nobody")
        self.refused(self.service.graft("job", "show", "nothing"), "nothing")
        self.refused(self.service.graft("train", "--dataset", "nowhere", *fixture.FROZEN_HEAD), "nowhere")
        self.refused(self.service.graft("train", "--dataset", "colors", "--backbone", "resnet9000", "--strategy",
                                        "frozen-head"), "resnet9000")

    def test_all_violations_come_at_once(self):
        result = self.service.graft("train", "--dataset", "colors", *fixture.FROZEN_HEAD, "--epochs", "100000",
                                    "--batch-size", "100000")
        self.refused(result, "epochs: got 100000", "batch_size: got 100000")

    def test_wrong_usage_has_a_status_of_its_own(self):
        for args in ((), ("frobnicate",), ("train", "--dataset", "colors"), ("job", "show")):
            self.refused(self.service.graft(*args), status=2)

    def test_second_server_on_the_same_data_is_refused(self):
        with self.assertRaisesRegex(AssertionError, "status 1(.|\n)*data-dir"):
            Service(self.data_dir, self.backbone_dir)
        self.assertEqual(self.service.get("/healthz")[0], 200)


if __name__ == "__main__":
    unittest.main()
