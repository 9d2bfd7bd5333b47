"""Trainings with settings from a file: what they do, what they measure, what they leave in the data directory."""
import json
import os
import pathlib
import re
import struct
import sys
import unittest

import fixture
import pictures
from service import Service

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
import tensorboard_reader

CURVES = {"loss/train": "train_loss", "loss/validation": "val_loss", "loss/held_out": "held_out_loss",
          "accuracy/train": "train_accuracy", "accuracy/validation": "val_accuracy",
          "accuracy/held_out": "held_out_accuracy", "learning_rate": "learning_rate",
          "images_per_second": "images_per_second"}


def as_float(number):
    """What a 32-bit float keeps of it."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


def without_comments(text):
    return re.sub(r"\s*#.*", "", text)


class EverythingTest(fixture.ServiceTest):
    """One fine-tuning with everything on."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.spec = cls.write("everything.yaml", fixture.EVERYTHING)
        cls.events, cls.job = cls.train("--spec", cls.spec, "--model", "everything")

    @classmethod
    def write(cls, name, text):
        pathlib.Path(cls.path(name)).write_text(text, encoding="utf-8")
        return cls.path(name)

    def epochs(self):
        return [e["epoch"] for e in self.events if "epoch" in e]

    def test_it_succeeds_with_the_settings_of_the_file(self):
        self.assertEqual(self.job["state"], "JOB_STATE_SUCCEEDED")
        best = self.versions_of(self.job, "everything")[0]
        self.assertEqual(self.job["model_version"], f"everything/{best}")
        effective = self.job["effective"]
        self.assertEqual(effective["head"], {"type": "HEAD_TYPE_MLP", "hidden_width": 32, "dropout": 0.2, "standardize": True})
        self.assertEqual((effective["optimizer"]["type"], effective["optimizer"]["beta1"]),
                         ("OPTIMIZER_TYPE_ADAMW", 0.8))
        self.assertEqual(effective["optimizer"]["beta2"], 0.999, "a default")
        self.assertEqual(effective["augmentation"], {"preset": "keras", "views": 2, "erase": 0.1})
        self.assertEqual(effective["class_balance"], "CLASS_BALANCE_SAMPLING")
        self.assertEqual(effective["regularization"]["ema_decay"], 0.9)

    def test_head_comes_first_and_stages_after_it(self):
        head, tune = [e["phase"] for e in self.events if "phase" in e]
        self.assertEqual((head["phase"], tune["phase"]), ("head", "fine-tune"))
        self.assertEqual((head["parameters"]["trainable_backbone"], head["trained_stages"]), ("0", []))
        self.assertIn("features.11", tune["trained_stages"])
        self.assertNotIn("features.10", tune["trained_stages"])
        for phase in (head, tune):
            counts = {k: int(v) for k, v in phase["parameters"].items()}
            self.assertEqual(counts["trainable_backbone"] + counts["frozen"], 927008)  # of torchvision
            self.assertEqual(counts["trainable_head"], 576 * 32 + 32 + 32 * 3 + 3)

    def test_held_out_pictures_choose_the_best_epoch(self):
        for phase in ("head", "fine-tune"):
            epochs = fixture.epochs(self.events, phase)
            accuracies = [e["held_out_accuracy"] for e in epochs]
            self.assertEqual([e["best"] for e in epochs],
                             [all(a > b for b in accuracies[:i]) for i, a in enumerate(accuracies)])
            self.assertTrue(all("held_out_loss" in e for e in epochs))
            last_best = max(e["epoch"] for e in epochs if e["best"])
            patience = self.job["effective"]["early_stopping"]["patience"]
            self.assertEqual(len(epochs), min(epochs[0]["phase_epochs"], last_best + patience))

    def test_evaluation_measures_what_was_asked_for(self):
        evaluation = self.job["evaluation"]
        self.assertGreater(evaluation["accuracy"], 0.6)  # a third is chance
        self.assertEqual(int(evaluation["image_count"]), 15)
        self.assertGreater(evaluation["temperature"], 0)
        self.assertGreaterEqual(evaluation["uncalibrated_error"], 0)
        self.assertLessEqual(evaluation["brier_score"], 2)
        self.assertGreater(evaluation["last_accuracy"], 0)
        for c in evaluation["classes"]:
            if "threshold" in c:
                self.assertGreaterEqual(c["threshold_precision"], 0.9)
                self.assertTrue(0 < c["threshold"] <= 1 and 0 < c["threshold_recall"] <= 1, c)
        self.assertTrue(any("threshold" in c for c in evaluation["classes"]))
        folds = evaluation["cross_validation"]
        self.assertEqual((folds["folds"], int(folds["images"])), (3, 45))
        self.assertEqual(sum(int(n) for n in folds["confusion"]), 45)
        images = [int(p["images"]) for p in evaluation["learning_curve"]["points"]]
        self.assertEqual((len(images), images), (3, sorted(set(images))))

    def test_curves_agree_with_the_epoch_events(self):
        folder = os.path.join(self.data_dir, "tensorboard", self.job["id"])
        self.assertEqual(len(tensorboard_reader.event_files(folder)), 1)
        version, *records = tensorboard_reader.events(tensorboard_reader.event_files(folder)[0])
        self.assertEqual(version["file_version"], "brain.Event:2")
        drawn = [(r["step"], {v["tag"]: v.get("simple_value", 0.0) for v in r["summary"]["value"]})
                 for r in records if r.get("step")]
        configuration = records[0]["summary"]["value"][0]
        self.assertEqual(configuration["tag"], "configuration")
        fenced = re.fullmatch(r"```\n(\{.*\})\n+```\n", configuration["tensor"]["string_val"][0], re.DOTALL)
        settings = json.loads(fenced[1])
        for field in ("dataset", "strategy", "backbone"):
            self.assertEqual(settings[field], self.job["effective"][field])
        head_epochs = self.job["effective"]["fine_tune"]["head_epochs"]
        told = [(e["epoch"] + (0 if e["phase"] == "head" else head_epochs),
                 {tag: as_float(e[field]) for tag, field in CURVES.items()}) for e in self.epochs()]
        self.assertEqual(drawn, told)
        evaluation = {v["tag"]: v.get("simple_value", 0.0) for v in records[-1]["summary"]["value"]}
        self.assertEqual(evaluation["evaluation/accuracy"], as_float(self.job["evaluation"]["accuracy"]))
        self.assertEqual(evaluation["evaluation/temperature"], as_float(self.job["evaluation"]["temperature"]))

    def test_model_answers(self):
        files = pictures.write_folder(self.path("held-out"), 2, first_seed=1000)
        for answer in self.service.json("classify", "--model", "everything", *files):
            self.assertAlmostEqual(sum(p["probability"] for p in answer["predictions"]), 1, places=4)

    def test_same_settings_give_the_same_result(self):
        _, again = self.train("--spec", self.spec, "--model", "everything")
        self.assertEqual(again["evaluation"], self.job["evaluation"])
        made = len(self.versions_of(self.job, "everything"))
        self.assertEqual(len(self.versions_of(again, "everything")), made)
        self.assertEqual(len(fixture.checkpoints(self.data_dir)), made)  # named by content: equal versions are one file

    def test_printed_settings_are_settings(self):
        jobs = len(self.service.json("job", "list", "--limit", "0"))
        for options in (("--spec", self.spec), ("--dataset", "colors", *fixture.FROZEN_HEAD),
                        ("--dataset", "colors", "--backbone", "mobilenet_v3_small", "--strategy", "gradual"),
                        ("--dataset", "colors", "--backbone", "small_convnet", "--strategy", "scratch")):
            with self.subTest(options=options):
                first = self.service.graft("train", "--print-spec", *options)
                self.assertEqual((first.status, first.err), (0, ""))
                second = self.service.graft("train", "--print-spec", "--spec", self.write("printed.yaml", first.out))
                self.assertEqual(second.status, 0, second.err)
                self.assertEqual(without_comments(second.out), without_comments(first.out))
                described = self.service.json("train", "--print-spec", *options)[0]
                again = self.service.json("train", "--print-spec", "--spec", self.path("printed.yaml"))[0]
                self.assertEqual((again["effective"], again["phases"]), (described["effective"], described["phases"]))
        self.assertEqual(len(self.service.json("job", "list", "--limit", "0")), jobs, "printing starts nothing")

    def test_printed_settings_are_those_of_the_job(self):
        described = self.service.json("train", "--print-spec", "--spec", self.spec, "--model", "everything")[0]
        self.assertEqual(described["effective"], self.job["effective"])
        phases = [e["phase"] for e in self.events if "phase" in e]
        self.assertEqual(described["phases"], phases)
        self.assertTrue(all(d["source"] for d in described["defaults"]))
        self.assertEqual({d["field"]: d["value"] for d in described["defaults"]}["optimizer.beta2"], "0.999")
        self.assertNotIn("optimizer.beta1", [d["field"] for d in described["defaults"]])


class TrainingTest(fixture.ServiceTest):
    def activation_files(self):
        return {f.name: f.stat().st_size for f in pathlib.Path(self.data_dir, "activations").glob("*.act")}

    def test_second_job_finds_the_first_ones_activations(self):
        args = ("--dataset", "colors", *fixture.FROZEN_HEAD, "--epochs", "5", "--model", "twice")
        _, first = self.train(*args)
        files = self.activation_files()
        self.assertTrue(files)
        _, second = self.train(*args)
        self.assertEqual(self.activation_files(), files, "nothing was left to compute")
        self.service.kill()
        self.start_service()
        _, third = self.train(*args)
        self.assertEqual(self.activation_files(), files, "they outlive the server")
        self.assertEqual(second["evaluation"], first["evaluation"])
        self.assertEqual(third["evaluation"], first["evaluation"])
        self.assertEqual([j["model_version"] for j in (first, second, third)], ["twice/1", "twice/2", "twice/3"])
        self.assertEqual(len(fixture.checkpoints(self.data_dir)), 1)  # named by content: all versions are one file

    def test_no_store_leaves_no_activations(self):
        data_dir = self.make_folder("without-store")
        with Service(data_dir, self.backbone_dir, "--activation-store-bytes", "0") as service:
            service.json("dataset", "upload", self.path("colors.zip"), "--name", "colors")
            *_, last = service.json("train", "--wait", "--dataset", "colors", *fixture.FROZEN_HEAD, "--epochs", "2")
        self.assertEqual(last["job"]["state"], "JOB_STATE_SUCCEEDED")
        self.assertFalse(os.path.exists(os.path.join(data_dir, "activations")))

    def test_wrong_labels_are_found_by_their_file_names(self):
        pictures.write_zip(self.path("wrong.zip"), 20, extra=[("val/red/is-blue.png", pictures.picture("blue", 900)),
                                                              ("train/green/is-red.png", pictures.picture("red", 901))])
        self.service.json("dataset", "upload", self.path("wrong.zip"), "--name", "wrong")
        _, job = self.train("--dataset", "wrong", *fixture.FROZEN_HEAD, "--folds", "5")
        worst = job["evaluation"]["mistakes"][0]
        self.assertEqual((worst["file_name"], worst["label"], worst["predicted"]),
                         ("val/red/is-blue.png", "red", "blue"))
        self.assertGreater(worst["confidence"], 0.5)
        self.assertIn(("train/green/is-red.png", "green", "red"),
                      [(i["file_name"], i["label"], i["predicted"]) for i in job["evaluation"]["label_issues"]])

    def test_every_violation_comes_in_one_answer(self):
        self.refused(self.service.graft(
            "train", "--dataset", "colors", *fixture.FROZEN_HEAD, "--epochs", "100000", "--dropout", "1",
            "--set", "optimizer.beta1=0.9", "--label-smoothing", "1", "--augmentation", "twirl", "--set",
            "augmentation.hue=2", "--folds", "1", "--set", "fine_tune.stage_decay=2", "--cutmix-alpha", "1"),
            "epochs: got 100000", "head.dropout: got 1", "optimizer.beta1: got 0.9",
            "regularization.label_smoothing: got 1", "augmentation.preset: got \"twirl\"",
            "augmentation.hue: got 2", "evaluation.folds: got 1", "fine_tune", "regularization.cutmix_alpha: got 1")

    def test_every_mistake_in_a_file_comes_with_its_line(self):
        path = self.path("mistakes.yaml")
        pathlib.Path(path).write_text("dataset: colors\nepoch: 3\noptimizer:\n  type: adam\n  momentun: 0.9\n"
                                      "batch_size: many\n", encoding="utf-8")
        result = self.service.graft("train", "--spec", path, *fixture.FROZEN_HEAD)
        self.assertNotEqual(result.status, 0)
        for line, what in ((2, "epoch"), (4, "optimizer.type"), (5, "optimizer.momentun"), (6, "batch_size")):
            self.assertIn(f"{path}:{line}: {what}: ", result.err)


if __name__ == "__main__":
    unittest.main()
