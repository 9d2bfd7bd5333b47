"""Pictures with any number of classes: upload, training, what is measured, answers."""
import os
import pathlib
import sys
import unittest
import zipfile

import fixture
import pictures

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
import tensorboard_reader

PER_PAIR = 8  # pictures of each of the 16 pairs of halves


class MultiLabelTest(fixture.ServiceTest):
    per_class = 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.labels = pictures.write_halves(cls.path("halves"), PER_PAIR)
        cls.write_archive(cls.path("halves.zip"))
        cls.upload = cls.service.json("dataset", "upload", cls.path("halves.zip"), "--name", "halves")[0]
        cls.events, cls.job = cls.train("--dataset", "halves", *fixture.FROZEN_HEAD, "--model", "halves")
        cls.held_out = pictures.write_halves(cls.path("held-out"), 1, first_seed=1000)

    @classmethod
    def write_archive(cls, path):
        lines = ["path,labels"]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for picture, labels in cls.labels.items():
                archive.write(picture, os.path.basename(picture))
                lines.append(f"{os.path.basename(picture)},{'|'.join(sorted(labels))}")
            archive.writestr("manifest.csv", "\n".join(lines))

    def test_manifest_with_labels_makes_a_multi_label_dataset(self):
        dataset = self.upload["dataset"]
        self.assertTrue(dataset["multi_label"] and dataset["split_by_server"])
        self.assertEqual((self.upload["rejected_count"], int(dataset["image_count"])), ("0", 16 * PER_PAIR))
        self.assertEqual(int(dataset["train_count"]) + int(dataset["validation_count"]), 16 * PER_PAIR)
        for c in dataset["classes"]:
            pictures_of_class = sum(c["name"] in labels for labels in self.labels.values())
            self.assertEqual(int(c["train_count"]) + int(c["validation_count"]), pictures_of_class, c["name"])
            self.assertAlmostEqual(int(c["validation_count"]) / pictures_of_class, 0.2, delta=0.05)
        self.assertEqual(self.service.json("dataset", "show", "halves")[0], dataset)
        self.assertIn(", multi-label", self.service.graft("dataset", "show", "halves").out)
        again = self.service.json("dataset", "upload", self.path("halves.zip"), "--name", "halves")[0]
        self.assertEqual(again["dataset"]["version"], dataset["version"])

    def test_folders_give_a_picture_all_their_classes(self):
        both = pictures.halves("red", "blue", 1)
        pictures.write_zip(self.path("folders.zip"), 4, extra=[("train/red/both.png", both),
                                                               ("train/blue/both.png", both)])
        upload = self.service.json("dataset", "upload", self.path("folders.zip"), "--name", "folders",
                                   "--multi-label")[0]
        self.assertEqual((upload["rejected_count"], upload["dataset"]["image_count"]), ("0", "13"))
        self.assertEqual([c["train_count"] for c in upload["dataset"]["classes"]], ["4", "3", "4"])
        upload = self.service.json("dataset", "upload", self.path("folders.zip"), "--name", "folders")[0]
        self.assertEqual((upload["rejected_count"], upload["dataset"]["image_count"]), ("1", "13"))
        self.assertFalse(upload["dataset"]["multi_label"])

    def test_evaluation_has_the_numbers_of_multi_label_models(self):
        self.assertEqual(self.job["state"], "JOB_STATE_SUCCEEDED")
        evaluation = self.job["evaluation"]
        numbers = evaluation["multi_label"]
        self.assertGreater(numbers["mean_average_precision"], 0.8)  # chance is 7 pictures of 16
        self.assertAlmostEqual(numbers["mean_average_precision"],
                               sum(c["average_precision"] for c in evaluation["classes"]) / 3)
        self.assertAlmostEqual(numbers["macro_f1"], sum(c["f1"] for c in evaluation["classes"]) / 3)
        self.assertGreater(numbers["micro_f1"], 0.6)
        self.assertLess(numbers["hamming_loss"], 0.25)
        self.assertLessEqual(evaluation["accuracy"], 1 - numbers["hamming_loss"])  # all classes right is harder
        self.assertEqual(evaluation["confusion"], [])
        self.assertEqual(evaluation["image_count"], self.upload["dataset"]["validation_count"])
        for suspect in evaluation["mistakes"] + evaluation["label_issues"]:
            self.assertEqual([suspect["label"], suspect["predicted"]].count(""), 1, suspect)
        shown = self.service.graft("job", "show", self.job["id"]).out
        self.assertIn(f"mAP {100 * numbers['mean_average_precision']:.1f} %", shown)

    def test_curves_end_with_the_evaluation(self):
        folder = os.path.join(self.data_dir, "tensorboard", self.job["id"])
        *_, last = tensorboard_reader.events(tensorboard_reader.event_files(folder)[0])
        values = {v["tag"]: v.get("simple_value", 0.0) for v in last["summary"]["value"]}
        self.assertAlmostEqual(values["evaluation/mean_average_precision"],
                               self.job["evaluation"]["multi_label"]["mean_average_precision"], places=5)

    def test_model_says_that_it_is_multi_label(self):
        version = self.service.json("model", "show", "halves")[0]["versions"][0]
        self.assertTrue(version["multi_label"])
        self.assertEqual(version["classes"], ["blue", "green", "red"])
        self.assertIn("mAP ", self.service.graft("model", "list").out)

    def test_each_class_is_a_decision_of_its_own(self):
        answers = self.service.json("classify", "--model", "halves", *self.held_out)
        right, sums = 0, []
        for answer in answers:
            self.assertTrue(answer["multi_label"])
            said = {p["label"] for p in answer["predictions"] if p["probability"] >= 0.5}
            right += 3 - len(said ^ self.held_out[answer["file"]])
            sums.append(sum(p["probability"] for p in answer["predictions"]))
        self.assertGreater(right / (3 * len(answers)), 0.75)
        self.assertGreater(max(sums) - min(sums), 0.1, "they need not sum to 1")
        marked = self.service.graft("classify", "--model", "halves", *self.held_out).out.splitlines()
        self.assertEqual(sum("\t* " in line for line in marked),
                         sum(p["probability"] >= 0.5 for a in answers for p in a["predictions"]))

    def test_same_settings_give_the_same_result(self):
        _, again = self.train("--dataset", "halves", *fixture.FROZEN_HEAD)
        self.assertEqual(again["evaluation"], self.job["evaluation"])

    def test_settings_that_such_a_dataset_does_not_allow_are_refused_at_the_start(self):
        for command in (("train",), ("train", "--print-spec")):
            self.refused(self.service.graft(*command, "--dataset", "halves", *fixture.FROZEN_HEAD, "--class-balance",
                                            "sampling"), "spec.class_balance: got sampling")

    def test_wrong_labels_name_their_line(self):
        for text, message in (("path,labels\na.png,red||blue\n", "manifest.csv:2: labels[1]: got"),
                              ("path,label,labels\n", "manifest.csv:1: header: got columns label and labels")):
            path = pathlib.Path(self.path("wrong.zip"))
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a.png", pictures.halves("red", "blue", 1))
                archive.writestr("manifest.csv", text)
            self.refused(self.service.graft("dataset", "upload", str(path), "--name", "wrong"), message)


if __name__ == "__main__":
    unittest.main()
