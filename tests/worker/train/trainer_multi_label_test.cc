// Datasets whose pictures have any number of classes, from pictures to predictions.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/worker/train/trainer_fixture.h"
#include "worker/infer/predictor.h"
#include "worker/train/label_tensors.h"

namespace graft {
namespace {

using testing::HasSubstr;

constexpr int kClasses = 3;

// Of pictures of `examples`, as they are served.
at::Tensor Predicted(const TrainOptions& options, const std::string& checkpoint, const Dataset& data,
                     const std::vector<Example>& examples) {
  const auto predictor = Predictor::Load(checkpoint, options.backbone);
  GRAFT_CHECK(predictor.ok() && (*predictor)->multi_label());
  Activations::Options o;
  o.backbone = options.backbone;
  o.preprocessing = options.preprocessing;
  o.split_point = (*predictor)->split_point();
  Activations activations(o, &examples, data.read);
  std::vector<int64_t> all;
  for (size_t i = 0; i < examples.size(); ++i) all.push_back(static_cast<int64_t>(i));
  const auto rows = activations.Gather(all.data(), static_cast<int64_t>(all.size()));
  GRAFT_CHECK(rows.ok());
  return (*predictor)->Probabilities(*rows);
}

// A head on standardized features, as by default.
TrainOptions HeadOptionsFor(int epochs) {
  TrainOptions options = OptionsFor({HeadPhase(epochs)});
  options.phases[0].head_learning_rate = 0.02;
  options.head.standardize = true;
  return options;
}

TEST(TrainMultiLabelTest, AFrozenHeadLearnsAndServesSigmoids) {
  const Dataset data = LightsDataset(8, 2, /*test=*/2);
  const TrainOptions options = HeadOptionsFor(20);
  RecordingObserver observer;
  const auto result = TrainOn(options, data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  const Evaluation& e = result->assessment.evaluation;
  EXPECT_TRUE(e.on_test);
  ASSERT_TRUE(e.multi_label.has_value());
  EXPECT_GT(e.multi_label->mean_average_precision, 0.98);
  EXPECT_GT(e.multi_label->micro_f1, 0.95);
  EXPECT_LT(e.multi_label->hamming_loss, 0.05);
  EXPECT_GT(e.accuracy, 0.85);
  EXPECT_TRUE(e.confusion.empty());
  EXPECT_EQ(result->assessment.thresholds.size(), 3u);
  // The same numbers from the checkpoint as it is served.
  const at::Tensor p = Predicted(options, result->checkpoint, data, data.test);
  const at::Tensor targets = TargetsOf(Labelling::Of(data.test), kClasses, at::kFloat);
  EXPECT_NEAR(at::binary_cross_entropy(p, targets).item<double>(), e.loss, 1e-3);
  EXPECT_NEAR(p.ge(0.5).eq(targets.ge(0.5)).all(1).to(at::kDouble).mean().item<double>(), e.accuracy, 1e-12);
  EXPECT_GT((p.sum(1) - 1).abs().max().item<double>(), 0.5) << "rows do not sum to 1";
  const EpochMetrics& last = observer.epochs.back();
  EXPECT_GT(last.train_accuracy, 0.85) << "exact matches";
  EXPECT_GT(observer.epochs.front().train_loss, last.train_loss);
}

TEST(ExactMatchRatioTest, CountsRowsThatAreRightInAll) {
  const at::Tensor logits = torch::tensor({1.0f, -1.0f, 0.0f, 2.0f}).view({2, 2});
  EXPECT_EQ(ExactMatchRatio(logits, Labelling::AnyNumber({{0}, {1}})), 0.5) << "0 is a yes";
  EXPECT_EQ(ExactMatchRatio(logits, Labelling::AnyNumber({{0}, {0, 1}})), 1);
  EXPECT_EQ(ExactMatchRatio(logits, {0, 1}), 1);
  EXPECT_EQ(ExactMatchRatio(logits.t(), Labelling::AnyNumber({{0, 1}, {1}})), 1) << "whatever the strides";
}

TEST(TrainMultiLabelTest, TheFirstLossIsAboutLogTwoHoweverManyClasses) {
  Phase phase = HeadPhase(1);
  phase.head_learning_rate = 1e-9;
  RecordingObserver observer;
  ASSERT_TRUE(TrainOn(OptionsFor({phase}), LightsDataset(2, 1), &observer).ok());
  EXPECT_NEAR(observer.epochs[0].train_loss, std::log(2.0), 0.2);
  EXPECT_NEAR(observer.epochs[0].train_loss, observer.epochs[0].val_loss, 0.1);
}

TEST(TrainMultiLabelTest, EveryHeadLearns) {
  const Dataset data = LightsDataset(8, 2);
  for (const HeadType type : {HeadType::kMlp, HeadType::kLinearSvm, HeadType::kCosine}) {
    TrainOptions options = HeadOptionsFor(20);
    options.head.type = type;
    options.head.hidden_width = type == HeadType::kMlp ? 32 : 0;
    if (type == HeadType::kLinearSvm) options.phases[0].head_learning_rate = 0.002;  // its curvature is larger
    const TrainResult result = MustTrain(options, data);
    EXPECT_GT(result.assessment.evaluation.multi_label->mean_average_precision, 0.95) << HeadTypeName(type);
  }
}

TEST(TrainMultiLabelTest, FineTuningWithEverythingLearns) {
  Phase tune = TunePhase(3);
  tune.mix = {0.2, 0.2};
  tune.label_smoothing = 0.05;
  TrainOptions options = HeadOptionsFor(15);
  options.phases.push_back(tune);
  options.class_balance = ClassBalance::kWeights;
  const TrainResult result = MustTrain(options, LightsDataset(8, 2));
  EXPECT_EQ(result.split_point, 12);
  EXPECT_GT(result.assessment.evaluation.multi_label->mean_average_precision, 0.95);
}

// A rare class is found sooner when it weighs as much as the pictures without it.
TEST(TrainMultiLabelTest, WeightsRaiseTheRecallOfARareClass) {
  Dataset data = LightsDataset(6, 3);
  int rare = 0;
  data.train.erase(std::remove_if(data.train.begin(), data.train.end(),
                                  [&](const Example& e) {
                                    const bool blue = !e.labels.empty() && e.labels.back() == 2;
                                    return blue && ++rare > 2;
                                  }),
                   data.train.end());
  TrainOptions options = OptionsFor({HeadPhase(2)});
  options.phases[0].head_learning_rate = 0.02;
  const double without = MustTrain(options, data).assessment.evaluation.classes[2].recall;
  options.class_balance = ClassBalance::kWeights;
  EXPECT_GT(MustTrain(options, data).assessment.evaluation.classes[2].recall, without);
}

TEST(TrainMultiLabelTest, ResumesBitForBit) {
  const Dataset data = LightsDataset(2, 1);
  Phase tune = TunePhase(2);
  tune.mix = {0.4, 0.4};
  tune.label_smoothing = 0.1;
  TrainOptions options = OptionsFor({HeadPhase(2), tune});
  options.class_balance = ClassBalance::kWeights;
  options.early_stopping = {2, StopMetric::kAccuracy, 0, 0.25};
  options.state_seconds = 1e-9;
  RecordingObserver unbroken;
  const auto want = TrainOn(options, data, &unbroken);
  ASSERT_TRUE(want.ok()) << want.status();
  ASSERT_GT(unbroken.states.size(), 4u) << "some within an epoch";
  for (size_t i = 0; i < unbroken.states.size(); ++i) {
    options.resume_state = unbroken.states[i];
    RecordingObserver observer;
    const auto resumed = TrainOn(options, data, &observer);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_TRUE(resumed->checkpoint == want->checkpoint) << i;
    EXPECT_TRUE(resumed->last_checkpoint == want->last_checkpoint) << i;
    EXPECT_EQ(resumed->assessment.last_accuracy, want->assessment.last_accuracy) << i;
  }
}

TEST(TrainMultiLabelTest, AStateOfOtherLabelsIsRefused) {
  const Dataset data = LightsDataset(1, 1);
  TrainOptions options = OptionsFor({HeadPhase(2)});
  RecordingObserver observer;
  ASSERT_TRUE(TrainOn(options, data, &observer).ok());
  options.resume_state = observer.states[0];
  ASSERT_TRUE(TrainOn(options, data, &observer).ok());
  Dataset relabelled = data;
  relabelled.train[0].labels = {1};
  EXPECT_EQ(TrainOn(options, relabelled, &observer).status().code(), absl::StatusCode::kFailedPrecondition);
  relabelled = data;
  relabelled.validation[3].labels = {0};
  EXPECT_EQ(TrainOn(options, relabelled, &observer).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(TrainMultiLabelTest, EarlyStoppingKeepsTheLastWeightsToo) {
  TrainOptions options = OptionsFor({HeadPhase(12)});
  options.early_stopping = {1, StopMetric::kAccuracy, 0, 0.25};
  RecordingObserver observer;
  const auto result = TrainOn(options, LightsDataset(4, 2), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_LT(observer.epochs.size(), 12u) << "it stopped";
  ASSERT_TRUE(observer.epochs[0].held_out_accuracy.has_value());
  ASSERT_FALSE(result->last_checkpoint.empty());
  EXPECT_TRUE(ParseCheckpoint(result->last_checkpoint)->multi_label);
}

TEST(TrainMultiLabelTest, ProbesOfFeaturesFindAWrongLabel) {
  Dataset data = LightsDataset(6, 3);
  data.train[9].labels = {0, 2};  // it shows red only
  TrainOptions options = OptionsFor({HeadPhase(3)});
  options.folds = 4;
  options.learning_curve = 3;
  const Assessment a = MustTrain(options, data).assessment;
  ASSERT_TRUE(a.cross_validated.has_value());
  EXPECT_GT(a.cross_validated->mean, 0.6);
  EXPECT_TRUE(a.cross_validated->confusion.empty());
  EXPECT_TRUE(std::any_of(a.label_issues.begin(), a.label_issues.end(), [&](const Suspect& issue) {
    return issue.name == data.train[9].name && issue.label == 2 && issue.predicted == -1;
  }));
  ASSERT_TRUE(a.learning_curve.has_value());
  EXPECT_EQ(a.learning_curve->points.back().images, 48);
  EXPECT_LE(a.learning_curve->points.back().error, a.learning_curve->points.front().error);
}

void ExpectInvalid(const TrainOptions& options, const Dataset& data, const std::string& message) {
  RecordingObserver observer;
  const absl::Status status = TrainOn(options, data, &observer).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(TrainMultiLabelTest, LabelsAreChecked) {
  const TrainOptions options = OptionsFor({HeadPhase(1)});
  const auto with = [](std::vector<int> labels) {
    Dataset data = LightsDataset(1, 1);
    data.train[1].labels = std::move(labels);
    return data;
  };
  ExpectInvalid(options, with({0, 3}), "labels: got 0, 3 for picture train-1, want 0 to 2, ascending");
  ExpectInvalid(options, with({-1}), "labels: got -1 for picture train-1, want 0 to 2, ascending");
  ExpectInvalid(options, with({2, 0}), "labels: got 2, 0 for picture train-1, want 0 to 2, ascending");
  ExpectInvalid(options, with({1, 1}), "labels: got 1, 1 for picture train-1, want 0 to 2, ascending");
  Dataset data = LightsDataset(1, 1);
  data.train[0].label = 0;
  ExpectInvalid(options, data, "label: got 0 for picture train-0, want -1 in a multi-label dataset");
  data = ColourDataset(2, 2, 1);
  data.train[0].labels = {0};
  ExpectInvalid(options, data, "labels: got some for picture train-0-0, want them only in a multi-label dataset");
}

TEST(TrainMultiLabelTest, EachClassNeedsATrainingPicture) {
  Dataset data = LightsDataset(1, 1);
  data.class_names.push_back("infrared");
  data.validation[0].labels = {3};
  ExpectInvalid(OptionsFor({HeadPhase(1)}), data, "train: got no picture of class \"infrared\", want at least one");
}

TEST(TrainMultiLabelTest, OneClassIsAYesOrANo) {
  Dataset data = LightsDataset(8, 2);
  data.class_names = {"red"};
  for (auto* split : {&data.train, &data.validation}) {
    for (Example& example : *split) {
      const bool red = !example.labels.empty() && example.labels.front() == 0;
      example.labels.assign(red ? 1 : 0, 0);
    }
  }
  TrainOptions options = HeadOptionsFor(20);
  options.folds = 3;
  const TrainResult result = MustTrain(options, data);
  EXPECT_GT(result.assessment.evaluation.accuracy, 0.85);
  EXPECT_EQ(Predicted(options, result.checkpoint, data, data.validation).sizes(), (std::vector<int64_t>{16, 1}));
  data.class_names.clear();
  ExpectInvalid(options, data, "classes: got none");
}

TEST(TrainMultiLabelTest, SamplingByClassIsRefused) {
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.class_balance = ClassBalance::kSampling;
  ExpectInvalid(options, LightsDataset(1, 1), "class_balance: got sampling, want none or weights");
}

}  // namespace
}  // namespace graft
