#include "worker/train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "tests/worker/train/trainer_fixture.h"
#include "worker/backbone/stage.h"
#include "worker/infer/predictor.h"
#include "worker/model/checkpoint.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

at::Tensor Weight(const TrainResult& result, const std::string& name) {
  return ParseCheckpoint(result.checkpoint)->weights.at(name);
}

at::Tensor Pretrained(const std::string& name) { return TinyWeights().tensors.at(name); }

TEST(TrainTest, AFrozenHeadLearnsColours) {
  const Dataset data = ColourDataset(3, 8, 4);
  RecordingObserver observer;
  const auto result = TrainOn(OptionsFor({HeadPhase(8)}), data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->assessment.evaluation.accuracy, 1);
  EXPECT_EQ(result->assessment.evaluation.image_count, 12);
  EXPECT_FALSE(result->assessment.evaluation.on_test);
  EXPECT_EQ(result->split_point, 14);
  ASSERT_EQ(observer.epochs.size(), 8u);
  EXPECT_LT(observer.epochs.back().train_loss, 0.5 * observer.epochs.front().train_loss);
  EXPECT_EQ(observer.epochs.back().val_accuracy, 1);
  EXPECT_DOUBLE_EQ(observer.epochs.back().val_loss, result->assessment.evaluation.loss);
}

TEST(TrainTest, FineTuningMovesTheUnfrozenStagesAndLearns) {
  const Dataset data = ColourDataset(2, 6, 3);
  RecordingObserver observer;
  const auto result = TrainOn(OptionsFor({HeadPhase(8), TunePhase(2)}), data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->assessment.evaluation.accuracy, 1);
  EXPECT_EQ(result->split_point, 12);
  EXPECT_FALSE(at::equal(Weight(*result, "features.12.0.weight"), Pretrained("features.12.0.weight")));
  EXPECT_LE(observer.epochs.back().train_loss, observer.epochs[7].train_loss);
}

TEST(TrainTest, TheObserverLearnsPhasesEpochsAndProgress) {
  const Dataset data = ColourDataset(2, 3, 2);
  RecordingObserver observer;
  ASSERT_TRUE(TrainOn(OptionsFor({HeadPhase(2), TunePhase(1)}), data, &observer).ok());
  ASSERT_EQ(observer.phases.size(), 2u);
  const auto backbone = TinyBackbone();
  EXPECT_THAT(observer.phases[0].trained_stages, ElementsAre());
  EXPECT_EQ(observer.phases[0].parameters.trainable_backbone, 0);
  EXPECT_EQ(observer.phases[0].parameters.trainable_head, 577 * 2);
  EXPECT_EQ(observer.phases[0].parameters.frozen, backbone->parameter_count(0, 14));
  EXPECT_EQ(observer.phases[1].index, 1);
  EXPECT_THAT(observer.phases[1].trained_stages, ElementsAre("features.12"));
  EXPECT_EQ(observer.phases[1].parameters.trainable_backbone, 96 * 576 + 2 * 576);
  EXPECT_EQ(observer.phases[1].parameters.frozen, backbone->parameter_count(0, 12));

  ASSERT_EQ(observer.epochs.size(), 3u);
  ASSERT_EQ(observer.points.size(), 3u) << "one after each epoch";
  EXPECT_EQ(observer.points[1].phase, "head");
  EXPECT_EQ(observer.points[1].epoch, 2);
  EXPECT_EQ(observer.points[1].images, 0);
  EXPECT_EQ(observer.points[2].phase, "fine-tune");
  EXPECT_EQ(observer.epochs[1].phase, "head");
  EXPECT_EQ(observer.epochs[1].epoch, 2);
  EXPECT_EQ(observer.epochs[1].phase_epochs, 2);
  // Cosine: 6 pictures, batches of 4: two steps an epoch, and the phase's last is the fourth.
  EXPECT_NEAR(observer.epochs[0].learning_rate, 0.1 * 0.5 * (1 + std::cos(M_PI * 1 / 4)), 1e-12);
  EXPECT_NEAR(observer.epochs[1].learning_rate, 0.1 * 0.5 * (1 + std::cos(M_PI * 3 / 4)), 1e-12);
  EXPECT_EQ(observer.epochs[2].phase, "fine-tune");
  EXPECT_EQ(observer.epochs[2].eta_seconds, 0) << "nothing is left";
  ASSERT_FALSE(observer.progress.empty());
  EXPECT_EQ(observer.progress.front().activity, "features");
  const auto last = std::find_if(observer.progress.rbegin(), observer.progress.rend(),
                                 [](const Progress& p) { return p.activity == "features"; });
  EXPECT_EQ(last->done, last->total);
  EXPECT_TRUE(observer.warnings.empty());
}

TEST(TrainTest, TheCheckpointHoldsTheSuffixAndItsOrigin) {
  const Dataset data = ColourDataset(2, 3, 2);
  RecordingObserver observer;
  const auto result = TrainOn(OptionsFor({HeadPhase(1), TunePhase(1)}), data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto checkpoint = ParseCheckpoint(result->checkpoint);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->backbone, "mobilenet_v3_small");
  EXPECT_EQ(checkpoint->backbone_digest, TinyBackbone()->digest());
  EXPECT_EQ(checkpoint->split_point, 12);
  EXPECT_THAT(checkpoint->class_names, ElementsAre("red", "green"));
  EXPECT_EQ(checkpoint->training_config, R"({"a":1})");
  EXPECT_EQ(checkpoint->weights.size(), 2u + 5u) << "head, convolution, and four tensors of its batch norm";
}

TEST(TrainTest, PicturesAndCheckpointHaveTheSizeThatWasAskedFor) {
  TrainOptions options = OptionsFor({HeadPhase(2)});
  const auto preprocessing = options.backbone->PreprocessingFor(96);
  ASSERT_TRUE(preprocessing.ok()) << preprocessing.status();
  options.preprocessing = *preprocessing;
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 3, 2, /*test=*/2), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(ParseCheckpoint(result->checkpoint)->preprocessing, *preprocessing);
  const auto predictor = Predictor::Load(result->checkpoint, options.backbone);
  EXPECT_TRUE(predictor.ok()) << "golden inputs of that size: " << predictor.status();
}

TEST(TrainTest, FromScratchTheWholeNetworkAndItsStatisticsAreTrained) {
  const TrainOptions options = ScratchOptions(3);
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 5, 2), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(observer.phases.size(), 1u);
  EXPECT_EQ(observer.phases[0].parameters.frozen, 0);
  EXPECT_EQ(observer.phases[0].trained_stages.size(), 13u) << "all but the pooling";
  const auto checkpoint = ParseCheckpoint(result->checkpoint);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->split_point, 0);
  EXPECT_EQ(checkpoint->backbone_digest, "untrained:mobilenet_v3_small");
  const auto before = options.backbone->CopyStages(0, 1)[0]->named_parameters();
  EXPECT_FALSE(at::equal(checkpoint->weights.at("features.0.0.weight"), before["0.weight"]));
  EXPECT_FALSE(at::equal(checkpoint->weights.at("features.0.1.running_mean"), at::zeros({16})));
  for (const auto& [name, tensor] : checkpoint->weights) {
    EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << name;
  }
}

// Ten pictures, batches of three: the tenth has no batch statistics of its own and joins the batch before it.
TEST(TrainTest, ALastPictureAloneJoinsTheBatchBeforeItWhenStatisticsAreTrained) {
  TrainOptions options = ScratchOptions(1);
  options.phases[0].batch_size = 3;
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 5, 2), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  // Cosine over an epoch of three steps.
  EXPECT_NEAR(observer.epochs[0].learning_rate, 1e-2 * 0.5 * (1 + std::cos(M_PI * 2 / 3)), 1e-12);
}

TEST(TrainTest, TheTestSplitIsEvaluatedWhenThereIsOne) {
  const Dataset data = ColourDataset(2, 4, 2, /*test=*/5);
  const Assessment assessment = MustTrain(OptionsFor({HeadPhase(4)}), data).assessment;
  EXPECT_TRUE(assessment.evaluation.on_test);
  EXPECT_EQ(assessment.evaluation.image_count, 10);
}

TEST(TrainTest, AnyCacheTrainsTheSameBitForBit) {
  const Dataset data = ColourDataset(2, 3, 2);
  TrainOptions options = OptionsFor({HeadPhase(1), TunePhase(1)});
  const TrainResult whole = MustTrain(options, data);
  for (const int64_t bytes : {int64_t{0}, int64_t{4 * 576 * 4}}) {
    options.activation_cache_bytes = bytes;
    EXPECT_TRUE(MustTrain(options, data).checkpoint == whole.checkpoint) << bytes;
  }
}

TEST(TrainTest, OneTwoAndThreeThreadsDifferByRoundingOnly) {
  const Dataset data = ColourDataset(2, 5, 2);
  const TrainOptions options = OptionsFor({HeadPhase(1), TunePhase(2)});
  const TrainResult one = MustTrain(options, data, 1);
  for (const int threads : {2, 3}) {
    const TrainResult more = MustTrain(options, data, threads);
    EXPECT_LT(LargestDifference(WeightsOf(one.checkpoint), WeightsOf(more.checkpoint)), 1e-5) << threads;
    EXPECT_TRUE(MustTrain(options, data, threads).checkpoint == more.checkpoint) << threads << " repeat bit for bit";
  }
}

// Frozen batch norms and, by default, unfrozen ones keep the pretrained statistics (pytorch issue 66073).
TEST(TrainTest, EvalPolicyChangesNoStatistics) {
  const Dataset data = ColourDataset(2, 4, 2);
  RecordingObserver observer;
  const auto result = TrainOn(OptionsFor({TunePhase(2)}), data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  for (const char* name : {"features.12.1.running_mean", "features.12.1.running_var"}) {
    EXPECT_TRUE(at::equal(Weight(*result, name), Pretrained(name))) << name;
  }
  EXPECT_FALSE(at::equal(Weight(*result, "features.12.1.weight"), Pretrained("features.12.1.weight")))
      << "it was trained";
}

TEST(TrainTest, TrainUnfrozenPolicyChangesStatisticsOfUnfrozenStagesOnly) {
  const Dataset data = ColourDataset(2, 4, 2);
  Phase phase = TunePhase(2);
  phase.batch_norm = BatchNormPolicy::kTrainUnfrozen;
  RecordingObserver observer;
  const at::Tensor input = GoldenInputs(PreprocessSpec());
  const at::Tensor prefix = TinyBackbone()->Forward(input, 0, 12);
  const auto result = TrainOn(OptionsFor({phase}), data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  for (const char* name : {"features.12.1.running_mean", "features.12.1.running_var"}) {
    EXPECT_FALSE(at::equal(Weight(*result, name), Pretrained(name))) << name;
  }
  EXPECT_TRUE(at::equal(TinyBackbone()->Forward(input, 0, 12), prefix)) << "the backbone itself never changes";
}

TEST(TrainTest, CancelWhilePicturesAreReadIsCancelled) {
  const Dataset plain = ColourDataset(2, 20, 2);
  Dataset data = plain;
  CancelToken cancel;
  std::atomic<int> reads{0};
  data.read = [&](const std::string& id) {
    if (++reads == 8) cancel.Stop(StopReason::kCancelled);  // within the first chunk of eight
    return plain.read(id);
  };
  RecordingObserver observer;
  EXPECT_EQ(TrainOn(OptionsFor({HeadPhase(1)}), data, &observer, 1, cancel).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_TRUE(observer.epochs.empty());
  EXPECT_LT(reads, 20) << "it stopped before the split's end";
}

TEST(TrainTest, CancelBetweenStepsIsCancelledWithoutAnotherState) {
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.state_seconds = 1e-9;
  CancelToken cancel;
  RecordingObserver observer;
  observer.on_state = [&] {
    cancel.Stop(StopReason::kCancelled);
    return absl::OkStatus();
  };
  EXPECT_EQ(TrainOn(options, ColourDataset(2, 6, 2), &observer, 2, cancel).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(observer.states.size(), 1u);
  EXPECT_TRUE(observer.epochs.empty());
}

// A drain costs the next process nothing.
TEST(TrainTest, ADrainWithinAnEpochLeavesAStateOfItsLastStep) {
  const Dataset data = ColourDataset(2, 6, 2);
  TrainOptions options = OptionsFor({TunePhase(2)});
  const TrainResult unbroken = MustTrain(options, data);
  CancelToken cancel;
  RecordingObserver drained, resumed;
  drained.on_state = [&] {
    cancel.Stop(StopReason::kDrain);
    return absl::OkStatus();
  };
  options.state_seconds = 1e-9;
  EXPECT_EQ(TrainOn(options, data, &drained, 2, cancel).status().code(), absl::StatusCode::kCancelled);
  ASSERT_EQ(drained.points.size(), 2u);
  EXPECT_EQ(drained.points[1].epoch, 0);
  EXPECT_EQ(drained.points[1].images, 4);
  options.resume_state = drained.states[1];
  const auto result = TrainOn(options, data, &resumed);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->checkpoint == unbroken.checkpoint);
}

TEST(TrainTest, AnObserversErrorEndsTheTrainingWithIt) {
  RecordingObserver observer;
  observer.on_epoch = [] { return absl::UnavailableError("nobody listens"); };
  EXPECT_EQ(TrainOn(OptionsFor({HeadPhase(3)}), ColourDataset(2, 3, 2), &observer).status(),
            absl::UnavailableError("nobody listens"));
  EXPECT_EQ(observer.epochs.size(), 1u);
}

TEST(TrainTest, APictureThatIsGoneIsDataLoss) {
  Dataset data = ColourDataset(2, 3, 2);
  data.validation[1].id = "gone";
  RecordingObserver observer;
  const absl::Status status = TrainOn(OptionsFor({HeadPhase(1)}), data, &observer).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("picture gone"));
}

TEST(TrainTest, ALossThatExplodesIsInvalidArgument) {
  Phase phase = HeadPhase(50);
  phase.head_learning_rate = 1e38;  // the second step overflows float32
  RecordingObserver observer;
  const absl::Status status = TrainOn(OptionsFor({phase}), ColourDataset(2, 4, 2), &observer).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("learning_rate"));
}

}  // namespace
}  // namespace graft
