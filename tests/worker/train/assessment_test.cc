#include "worker/train/assessment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/worker/train/trainer_fixture.h"

namespace graft {
namespace {

using testing::Contains;
using testing::ElementsAre;

constexpr double kPrecision = 0.7;

// Examples named after their split with logits (z, 0): positive z says class 0.
struct Split {
  Split(const std::string& name, const std::vector<int>& labels, const std::vector<float>& z) {
    for (size_t i = 0; i < labels.size(); ++i) {
      examples.push_back({absl::StrCat("id", i), labels[i], absl::StrCat(name, i, ".jpg"), {}});
      logits.insert(logits.end(), {z[i], 0.0f});
    }
  }
  LabelledLogits labelled() const { return {&examples, logits}; }
  std::vector<Example> examples;
  std::vector<float> logits;
};

// Too sure: one in four is wrong, all have |z| near 6.
Split ValidationSplit() { return Split("val", {0, 0, 0, 0, 1, 1, 1, 1}, {6, 5, 7, -5, -6, -7, 5, -5}); }
Split TestSplit() { return Split("test", {0, 0, 0, 1, 1, 1}, {4, 3, -8, -3, -4, 2}); }

TEST(AssessTest, TheTestSplitIsScaledByTheTemperatureOfValidation) {
  const Split validation = ValidationSplit(), test = TestSplit();
  const std::vector<int> labels = LabelsOf(test.examples);
  const Assessment a = Assess({"a", "b"}, validation.labelled(), test.labelled(), kPrecision);
  const double want = FitTemperature(validation.logits, LabelsOf(validation.examples), 2);
  EXPECT_EQ(a.calibration.temperature, want);
  EXPECT_GT(want, 1.5);
  EXPECT_GT(std::abs(want - FitTemperature(test.logits, labels, 2)), 0.1) << "else this shows nothing";

  EXPECT_TRUE(a.evaluation.on_test);
  EXPECT_EQ(a.evaluation.image_count, 6);
  EXPECT_NEAR(a.evaluation.accuracy, 4.0 / 6, 1e-12);
  EXPECT_EQ(a.last_accuracy, a.evaluation.accuracy);
  EXPECT_NEAR(a.evaluation.loss, NegativeLogLikelihood(test.logits, labels, 2, want), 1e-6);
  EXPECT_EQ(a.calibration.nll_before, NegativeLogLikelihood(test.logits, labels, 2, 1));
  EXPECT_EQ(a.calibration.nll_after, NegativeLogLikelihood(test.logits, labels, 2, want));
  const std::vector<float> raw = Softmax(test.logits, 2, 1), scaled = Softmax(test.logits, 2, want);
  EXPECT_EQ(a.calibration.ece_before, ExpectedCalibrationError(raw, labels, 2));
  EXPECT_EQ(a.calibration.ece_after, ExpectedCalibrationError(scaled, labels, 2));
  EXPECT_EQ(a.calibration.brier_before, BrierScore(raw, labels, 2));
  EXPECT_EQ(a.calibration.brier_after, BrierScore(scaled, labels, 2));
  EXPECT_EQ(a.evaluation.expected_calibration_error, a.calibration.ece_after);
}

TEST(AssessTest, WithoutATestSplitValidationIsMeasuredAcrossFolds) {
  const Split validation = ValidationSplit(), none("test", {}, {});
  const Assessment a = Assess({"a", "b"}, validation.labelled(), none.labelled(), kPrecision);
  const Calibration want = CrossFitCalibration(validation.logits, LabelsOf(validation.examples), 2);
  EXPECT_FALSE(a.evaluation.on_test);
  EXPECT_EQ(a.evaluation.image_count, 8);
  EXPECT_EQ(a.calibration.temperature, want.temperature);
  EXPECT_EQ(a.calibration.nll_after, want.nll_after);
  EXPECT_EQ(a.calibration.ece_before, want.ece_before);
}

TEST(AssessTest, SuspectsCarryTheirFilesNames) {
  const Split validation = ValidationSplit(), test = TestSplit();
  const Assessment a = Assess({"a", "b"}, validation.labelled(), test.labelled(), kPrecision);
  ASSERT_EQ(a.mistakes.size(), 2u);
  EXPECT_EQ(a.mistakes[0].name, "test2.jpg") << "the surest first";
  EXPECT_EQ(a.mistakes[0].label, 0);
  EXPECT_EQ(a.mistakes[0].predicted, 1);
  EXPECT_FLOAT_EQ(a.mistakes[0].confidence, Softmax({-8, 0}, 2, a.calibration.temperature)[1]);
  EXPECT_EQ(a.mistakes[1].name, "test5.jpg");
  ASSERT_FALSE(a.label_issues.empty());
  EXPECT_EQ(a.label_issues[0].name, "test2.jpg");
  EXPECT_EQ(a.label_issues[0].label, 0);
  EXPECT_EQ(a.label_issues[0].predicted, 1);
}

TEST(AssessTest, ListsEndAtTwenty) {
  const std::vector<int> labels(50, 0);
  const Split validation("val", labels, std::vector<float>(50, -3));
  const Split none("test", {}, {});
  EXPECT_EQ(Assess({"a", "b"}, validation.labelled(), none.labelled(), kPrecision).mistakes.size(), 20u);
}

TEST(AssessTest, ThresholdsAreChosenOnValidationAndMeasuredOnTest) {
  const Split validation = ValidationSplit();
  const Split test("test", {0, 0, 0, 1, 1, 1}, {6, 8, 1, 5.5f, -9, -6});
  const Assessment a = Assess({"a", "b"}, validation.labelled(), test.labelled(), kPrecision);
  const double temperature = a.calibration.temperature;
  ASSERT_EQ(a.thresholds.size(), 2u);
  EXPECT_TRUE(a.thresholds[0].reachable) << "of validation's 7, 6, 5 and 5 one is wrong";
  EXPECT_FLOAT_EQ(a.thresholds[0].threshold, Softmax({5, 0}, 2, temperature)[0]);
  EXPECT_EQ(a.thresholds[0].predicted, 3) << "test's 6, 8 and 5.5";
  EXPECT_DOUBLE_EQ(a.thresholds[0].precision, 2.0 / 3) << "less than was asked for";
  EXPECT_DOUBLE_EQ(a.thresholds[0].recall, 2.0 / 3);
  EXPECT_FLOAT_EQ(a.thresholds[1].threshold, Softmax({-5, 0}, 2, temperature)[1]);
  EXPECT_DOUBLE_EQ(a.thresholds[1].precision, 1);
  EXPECT_DOUBLE_EQ(a.thresholds[1].recall, 2.0 / 3);
}

TEST(AssessTest, WithoutATestSplitThresholdsAreMeasuredWhereTheyWereChosen) {
  const Split validation = ValidationSplit(), none("test", {}, {});
  const Assessment a = Assess({"a", "b"}, validation.labelled(), none.labelled(), kPrecision);
  const auto want = ThresholdsForPrecision(Softmax(validation.logits, 2, a.calibration.temperature),
                                           LabelsOf(validation.examples), 2, kPrecision);
  ASSERT_EQ(a.thresholds.size(), 2u);
  for (size_t c = 0; c < 2; ++c) {
    EXPECT_TRUE(a.thresholds[c].reachable);
    EXPECT_EQ(a.thresholds[c].threshold, want[c].threshold);
    EXPECT_EQ(a.thresholds[c].precision, want[c].precision);
    EXPECT_DOUBLE_EQ(a.thresholds[c].recall, 0.75);
  }
}

// Features of the colour pictures, as Train() asks for them.
class ProbeTest : public testing::Test {
 protected:
  ProbeTest() {
    for (auto* split : {&data_.train, &data_.validation}) {
      for (Example& example : *split) example.name = example.id + ".bmp";
    }
  }
  ProbeData Probe() { return {&train_, &validation_, 2, 3, &pool_, cancel_}; }

  Dataset data_ = ColourDataset(2, 16, 8);
  Activations train_{FeatureOptions(), &data_.train, data_.read};
  Activations validation_{FeatureOptions(), &data_.validation, data_.read};
  WorkerPool pool_{{2, 0, "test", UseOneIntraOpThread}};
  CancelToken cancel_;

 private:
  static Activations::Options FeatureOptions() {
    Activations::Options options;
    options.backbone = TinyBackbone();
    options.preprocessing = *TinyBackbone()->PreprocessingFor(64);
    options.split_point = TinyBackbone()->num_stages();
    return options;
  }
};

TEST_F(ProbeTest, CrossValidationFindsColoursAndFlippedLabels) {
  for (const size_t flipped : {4, 9}) data_.train[flipped].label = 1 - data_.train[flipped].label;
  std::vector<Suspect> issues;
  const auto result = CrossValidate(Probe(), 4, &issues);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->folds, 4);
  EXPECT_EQ(result->images, 32);
  EXPECT_NEAR(result->mean, 30.0 / 32, 1e-9) << "all but the two flipped ones";
  EXPECT_GT(result->standard_deviation, 0);
  EXPECT_EQ(std::accumulate(result->confusion.begin(), result->confusion.end(), int64_t{0}), 32);
  EXPECT_EQ(result->confusion[0] + result->confusion[3], 30);
  ASSERT_EQ(issues.size(), 2u);
  std::vector<std::string> names{issues[0].name, issues[1].name};
  EXPECT_THAT(names, Contains(data_.train[4].name));
  EXPECT_THAT(names, Contains(data_.train[9].name));
  for (const Suspect& issue : issues) {
    EXPECT_EQ(issue.predicted, 1 - issue.label);
    EXPECT_GT(issue.confidence, 0.5);
  }
}

TEST_F(ProbeTest, MoreFoldsThanPicturesIsInvalidArgument) {
  std::vector<Suspect> issues;
  EXPECT_EQ(CrossValidate(Probe(), 33, &issues).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ProbeImagesTest, AreBoundedByBytesButNotBelowAFewThousand) {
  EXPECT_EQ(ProbeImages(4 * 576), 29127);
  EXPECT_EQ(ProbeImages(4 * 2048), 8192);
  EXPECT_EQ(ProbeImages(1 << 20), 4000);
}

TEST_F(ProbeTest, OfALargeSplitAStratifiedPartIsLookedAt) {
  ProbeData some = Probe();
  some.max_images = 8;
  std::vector<Suspect> issues;
  const auto result = CrossValidate(some, 4, &issues);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->images, 8);
  ASSERT_EQ(result->confusion.size(), 4u);
  EXPECT_EQ(result->confusion[0] + result->confusion[1], 4) << "half of them";
  EXPECT_EQ(result->confusion[2] + result->confusion[3], 4);
  const auto curve = MeasureLearningCurve(some, 3);
  ASSERT_TRUE(curve.ok()) << curve.status();
  std::vector<int64_t> images;
  for (const CurvePoint& point : curve->points) images.push_back(point.images);
  EXPECT_THAT(images, ElementsAre(2, 4, 8));
  EXPECT_EQ(curve->points.back().standard_deviation, StandardError(curve->points.back().error, 8))
      << "of validation 8 of 16 too";
}

TEST_F(ProbeTest, CancelIsCancelled) {
  cancel_.Stop(StopReason::kCancelled);
  std::vector<Suspect> issues;
  EXPECT_EQ(CrossValidate(Probe(), 4, &issues).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(MeasureLearningCurve(Probe(), 3).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ProbeTest, APictureThatIsGoneIsDataLoss) {
  data_.train[5].id = "gone";
  std::vector<Suspect> issues;
  EXPECT_EQ(CrossValidate(Probe(), 4, &issues).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(MeasureLearningCurve(Probe(), 3).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(ProbeTest, TheLearningCurveRisesByHalvesAndIsForecast) {
  // Colours alone would be right at once: some labels are wrong, six of each class.
  for (size_t i = 0; i < 12; ++i) data_.train[i].label = 1 - data_.train[i].label;
  const auto curve = MeasureLearningCurve(Probe(), 4);
  ASSERT_TRUE(curve.ok()) << curve.status();
  ASSERT_EQ(curve->points.size(), 4u);
  std::vector<int64_t> images;
  for (const CurvePoint& point : curve->points) {
    images.push_back(point.images);
    EXPECT_GE(point.error, 0);
    EXPECT_LE(point.error, 1);
    EXPECT_GE(point.standard_deviation, StandardError(point.error, 16)) << "else it weighs too much";
  }
  EXPECT_THAT(images, ElementsAre(4, 8, 16, 32));
  EXPECT_EQ(curve->points.back().standard_deviation, StandardError(curve->points.back().error, 16))
      << "all seeds have the whole split";
  const CurveForecast want = ForecastTwice(curve->points);
  EXPECT_TRUE(curve->forecast.fits);
  EXPECT_EQ(curve->forecast.error_at_twice, want.error_at_twice);
}

TEST_F(ProbeTest, TheLearningCurveDoesNotDependOnThreads) {
  for (size_t i = 0; i < 12; ++i) data_.train[i].label = 1 - data_.train[i].label;
  const auto two = MeasureLearningCurve(Probe(), 3);
  WorkerPool one_thread({1, 0, "test", UseOneIntraOpThread});
  ProbeData alone = Probe();
  alone.pool = &one_thread;
  const auto one = MeasureLearningCurve(alone, 3);
  ASSERT_TRUE(one.ok() && two.ok());
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(one->points[i].error, two->points[i].error);
}

TEST(TrainAssessmentTest, ProbesAreMadeWhenAskedForAndOfFeaturesWhateverIsTrained) {
  Dataset data = ColourDataset(2, 8, 4, /*test=*/4);
  for (Example& example : data.train) example.name = example.id + ".bmp";
  data.train[4].label = 1 - data.train[4].label;
  TrainOptions options = OptionsFor({HeadPhase(1), TunePhase(1)});
  const Assessment without = MustTrain(options, data).assessment;
  EXPECT_FALSE(without.cross_validated.has_value());
  EXPECT_FALSE(without.learning_curve.has_value());
  options.folds = 4;
  options.learning_curve = 3;
  const Assessment with = MustTrain(options, data).assessment;
  ASSERT_TRUE(with.cross_validated.has_value());
  EXPECT_EQ(with.cross_validated->folds, 4);
  ASSERT_TRUE(with.learning_curve.has_value());
  EXPECT_EQ(with.learning_curve->points.back().images, 16);
  EXPECT_TRUE(std::any_of(with.label_issues.begin(), with.label_issues.end(),
                          [&](const Suspect& issue) { return issue.name == data.train[4].name; }));
}

// Three pictures of two classes with logits of their own.
struct Sets {
  Sets(const std::string& name, const std::vector<std::vector<int>>& sets, std::vector<float> z)
      : logits(std::move(z)) {
    for (size_t i = 0; i < sets.size(); ++i) {
      examples.push_back({absl::StrCat("id", i), -1, absl::StrCat(name, i, ".jpg"), sets[i]});
    }
  }
  LabelledLogits labelled() const { return {&examples, logits}; }
  std::vector<Example> examples;
  std::vector<float> logits;
};

TEST(MultiLabelAssessTest, MeasuresTestWithTheTemperatureOfValidation) {
  const Sets validation("val", {{0}, {0, 1}, {}, {1}}, {2, -2, 2, 2, 2, -2, -2, 2});
  const Sets test("test", {{0}, {1}}, {3, -1, 2, 1});
  const Assessment a = Assess({"a", "b"}, validation.labelled(), test.labelled(), kPrecision);
  // Seven of eight decisions of odds e^2 are right.
  EXPECT_NEAR(a.calibration.temperature, 2 / std::log(7.0), 1e-5);
  EXPECT_TRUE(a.evaluation.on_test);
  EXPECT_EQ(a.evaluation.image_count, 2);
  EXPECT_EQ(a.evaluation.accuracy, 0.5);
  EXPECT_EQ(a.last_accuracy, 0.5);
  ASSERT_TRUE(a.evaluation.multi_label.has_value());
  EXPECT_EQ(a.evaluation.multi_label->hamming_loss, 0.25);
  const Calibration want =
      MeasureCalibration(test.logits, Labelling::Of(test.examples), 2, a.calibration.temperature);
  EXPECT_EQ(a.calibration.nll_before, want.nll_before);
  EXPECT_EQ(a.calibration.brier_after, want.brier_after);
  EXPECT_NEAR(a.evaluation.expected_calibration_error, a.calibration.ece_after, 1e-9);
  EXPECT_NEAR(a.evaluation.loss, a.calibration.nll_after, 1e-9);
  ASSERT_EQ(a.thresholds.size(), 2u);
  EXPECT_FALSE(a.thresholds[0].reachable) << "of validation two of three are right";
  EXPECT_NEAR(a.thresholds[1].threshold, 1 / (1 + std::exp(-2 / a.calibration.temperature)), 1e-6);
  EXPECT_EQ(a.thresholds[1].predicted, 0) << "of test";
}

TEST(MultiLabelAssessTest, MistakesNameTheClassAndWhatTheNetworkSays) {
  const Sets validation("val", {{0}, {0, 1}, {}, {1}}, {2, -2, 2, -3, 4, -2, -2, 2});
  const Sets none("test", {}, {});
  const Assessment a = Assess({"a", "b"}, validation.labelled(), none.labelled(), kPrecision);
  ASSERT_EQ(a.mistakes.size(), 2u);
  const double t = a.calibration.temperature;
  EXPECT_EQ(a.mistakes[0].name, "val2.jpg") << "the surest first";
  EXPECT_EQ(a.mistakes[0].label, -1) << "not labelled a";
  EXPECT_EQ(a.mistakes[0].predicted, 0);
  EXPECT_NEAR(a.mistakes[0].confidence, 1 / (1 + std::exp(-4 / t)), 1e-6);
  EXPECT_EQ(a.mistakes[1].name, "val1.jpg");
  EXPECT_EQ(a.mistakes[1].label, 1) << "labelled b";
  EXPECT_EQ(a.mistakes[1].predicted, -1);
  EXPECT_NEAR(a.mistakes[1].confidence, 1 / (1 + std::exp(-3 / t)), 1e-6);
}

// Each class is sure and right, but for one label too many and one that is missing.
TEST(MultiLabelAssessTest, LabelIssuesAreOfEachClass) {
  std::vector<std::vector<int>> sets;
  std::vector<float> logits;
  for (int i = 0; i < 20; ++i) {
    const bool a = i % 2 == 0, b = i % 3 == 0;
    sets.emplace_back();
    if (a != (i == 5)) sets.back().push_back(0);  // 5 is labelled a too
    if (b != (i == 9)) sets.back().push_back(1);  // 9 is not labelled b
    logits.push_back(a ? 4.0f : -4.0f);
    logits.push_back(b ? 5.0f : -5.0f);
  }
  const Sets validation("val", sets, logits), none("test", {}, {});
  const Assessment a = Assess({"a", "b"}, validation.labelled(), none.labelled(), kPrecision);
  ASSERT_EQ(a.label_issues.size(), 2u);
  EXPECT_EQ(a.label_issues[0].name, "val9.jpg");
  EXPECT_EQ(a.label_issues[0].label, -1);
  EXPECT_EQ(a.label_issues[0].predicted, 1);
  EXPECT_EQ(a.label_issues[1].name, "val5.jpg");
  EXPECT_EQ(a.label_issues[1].label, 0);
  EXPECT_EQ(a.label_issues[1].predicted, -1);
  EXPECT_GT(a.label_issues[1].confidence, 0.5);
}

}  // namespace
}  // namespace graft
