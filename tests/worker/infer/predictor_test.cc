#include "worker/infer/predictor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <string>

#include "tests/support/tiny_backbone.h"
#include "tests/support/tiny_checkpoint.h"
#include "tests/support/tiny_classifier.h"
#include "worker/model/suffix.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kSplit = 11;

absl::StatusOr<std::shared_ptr<const Predictor>> Load(const Checkpoint& checkpoint) {
  return Predictor::Load(SerializeCheckpoint(checkpoint), TinyBackbone());
}

void ExpectDataLoss(const Checkpoint& checkpoint, const std::string& message) {
  const absl::Status status = Load(checkpoint).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

Checkpoint Sound() { return TinyCheckpoint(*TinyBackbone(), kSplit); }

// Probabilities of the network as it is trained: unprepared stages after the same prefix.
at::Tensor TrainingTimeProbabilities(const at::Tensor& images, double temperature) {
  torch::NoGradGuard no_grad;
  Suffix suffix(*TinyBackbone(), kSplit, HeadOptions(), 3, 1);
  return at::softmax(suffix.Forward(TinyBackbone()->Forward(images, 0, kSplit)) / temperature, 1);
}

TEST(PredictorTest, SaysWhatItsCheckpointSays) {
  const auto predictor = Load(Sound());
  ASSERT_TRUE(predictor.ok()) << predictor.status();
  EXPECT_EQ((*predictor)->split_point(), kSplit);
  EXPECT_EQ((*predictor)->class_names(), Sound().class_names);
  EXPECT_EQ((*predictor)->preprocessing(), TinyBackbone()->preprocessing());
  EXPECT_EQ(&(*predictor)->backbone(), TinyBackbone().get());
  int64_t bytes = 0;
  for (const auto& [name, tensor] : Sound().weights) bytes += static_cast<int64_t>(tensor.nbytes());
  EXPECT_EQ((*predictor)->bytes(), bytes);
}

TEST(PredictorTest, ProbabilitiesAreTheTrainedNetworks) {
  const at::Tensor images = GoldenInputs(PreprocessSpec()) * 0.7;
  for (const double temperature : {1.0, 2.5}) {
    Checkpoint checkpoint = Sound();
    checkpoint.temperature = temperature;
    const auto predictor = Load(checkpoint);
    ASSERT_TRUE(predictor.ok()) << predictor.status();
    const at::Tensor got = (*predictor)->Probabilities((*predictor)->Prefix(images));
    EXPECT_TRUE(at::allclose(got, TrainingTimeProbabilities(images, temperature), 1e-4, 1e-5));
    EXPECT_TRUE(at::allclose(got.sum(1), at::ones({2})));
  }
}

TEST(PredictorTest, KeysAreEqualWhenThePrefixIs) {
  const std::string key = (*Load(Sound()))->prefix_key();
  EXPECT_EQ((*Load(TinyCheckpoint(*TinyBackbone(), kSplit, 5, 9)))->prefix_key(), key) << "classes and weights differ";
  EXPECT_NE((*Load(TinyCheckpoint(*TinyBackbone(), 14)))->prefix_key(), key);
  Checkpoint other = Sound();
  other.preprocessing.mean[1] += 0.01f;
  EXPECT_NE((*Load(other))->prefix_key(), key);
  other = Sound();
  other.preprocessing.interpolation = Interpolation::kBicubic;
  EXPECT_NE((*Load(other))->prefix_key(), key);
}

TEST(PredictorOfBackboneTest, HasTheClassesOfTheWeightsOwnClassifier) {
  const auto backbone = TinyClassifier();
  const auto predictor = Predictor::OfBackbone(backbone);
  ASSERT_TRUE(predictor.ok()) << predictor.status();
  EXPECT_THAT((*predictor)->class_names(), ElementsAre("ant", "bee", "cat"));
  EXPECT_EQ((*predictor)->split_point(), backbone->num_stages());
  EXPECT_EQ((*predictor)->preprocessing(), backbone->preprocessing());
  // torchvision's classifier of mobilenet_v3_small: 576 -> 1024 -> classes, float32.
  EXPECT_EQ((*predictor)->bytes(), 4 * (577 * 1024 + 1025 * 3));
}

TEST(PredictorOfBackboneTest, ProbabilitiesAreTheSoftmaxOfItsOwnLogits) {
  const auto backbone = TinyClassifier();
  const auto predictor = Predictor::OfBackbone(backbone);
  ASSERT_TRUE(predictor.ok()) << predictor.status();
  const at::Tensor images = GoldenInputs(PreprocessSpec());
  const at::Tensor features = backbone->Forward(images, 0, backbone->num_stages());
  const at::Tensor got = (*predictor)->Probabilities((*predictor)->Prefix(images));
  EXPECT_TRUE(at::allclose(got, at::softmax(backbone->OwnLogits(features), 1)));
  EXPECT_TRUE(at::allclose(got.sum(1), at::ones({2})));
}

TEST(PredictorOfBackboneTest, SharesItsPrefixWithFrozenHeadModels) {
  const auto backbone = TinyClassifier();
  const auto model = Predictor::Load(SerializeCheckpoint(TinyCheckpoint(*backbone, backbone->num_stages())), backbone);
  const auto own = Predictor::OfBackbone(backbone);
  ASSERT_TRUE(model.ok() && own.ok()) << model.status() << own.status();
  EXPECT_EQ((*own)->prefix_key(), (*model)->prefix_key());
}

TEST(PredictorOfBackboneTest, WeightsWithoutAClassifierAreFailedPrecondition) {
  const absl::Status status = Predictor::OfBackbone(TinyBackbone()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "backbone mobilenet_v3_small: its weights have no classifier of their own; train a model "
                              "on it, or install weights that have one");
}

TEST(PredictorTest, DamagedBytesAreDataLoss) {
  const std::string bytes = SerializeCheckpoint(Sound());
  EXPECT_EQ(Predictor::Load(bytes.substr(0, bytes.size() - 1), TinyBackbone()).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(Predictor::Load("", TinyBackbone()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(PredictorTest, AnotherBackboneIsFailedPreconditionAndNamesBoth) {
  const auto other = TinyBackbone(2);
  const absl::Status status = Predictor::Load(SerializeCheckpoint(Sound()), other).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              testing::AllOf(HasSubstr(other->digest()), HasSubstr(TinyBackbone()->digest())));
}

TEST(PredictorTest, AnAlteredWeightIsDataLoss) {
  for (const char* name : {"head.weight", "features.12.1.running_var", "features.11.block.0.0.weight"}) {
    Checkpoint checkpoint = Sound();
    checkpoint.weights.at(name).mul_(1.1);
    ExpectDataLoss(checkpoint, "golden logits differ");
  }
}

TEST(PredictorTest, AWeightThatIsNoNumberIsDataLoss) {
  Checkpoint checkpoint = Sound();
  checkpoint.weights.at("head.weight").fill_(NAN);
  ExpectDataLoss(checkpoint, "golden logits differ");
}

TEST(PredictorTest, MissingOrMisshapenWeightsAreDataLoss) {
  Checkpoint checkpoint = Sound();
  checkpoint.weights.erase("head.bias");
  ExpectDataLoss(checkpoint, "1 weights are missing");
  checkpoint.weights["head.bias"] = at::zeros({4});
  ExpectDataLoss(checkpoint, "head.bias");
}

TEST(PredictorTest, SplitPointOutOfRangeIsDataLoss) {
  for (const int split_point : {-1, 15}) {
    Checkpoint checkpoint = Sound();
    checkpoint.split_point = split_point;
    ExpectDataLoss(checkpoint, "split point");
  }
}

TEST(PredictorTest, MisshapenGoldenLogitsAreDataLoss) {
  Checkpoint checkpoint = Sound();
  checkpoint.golden_logits = at::zeros({2, 4});
  ExpectDataLoss(checkpoint, "golden logits are misshapen");
}

TEST(PredictorTest, MultiLabelProbabilitiesAreSigmoids) {
  torch::NoGradGuard no_grad;
  Checkpoint checkpoint = Sound();
  checkpoint.multi_label = true;
  checkpoint.temperature = 2.5;
  const auto predictor = Load(checkpoint);
  ASSERT_TRUE(predictor.ok()) << predictor.status();
  EXPECT_TRUE((*predictor)->multi_label());
  EXPECT_FALSE((*Load(Sound()))->multi_label());
  const at::Tensor images = GoldenInputs(PreprocessSpec()) * 0.7;
  Suffix suffix(*TinyBackbone(), kSplit, HeadOptions(), 3, 1);
  const at::Tensor want = at::sigmoid(suffix.Forward(TinyBackbone()->Forward(images, 0, kSplit)) / 2.5);
  const at::Tensor got = (*predictor)->Probabilities((*predictor)->Prefix(images));
  EXPECT_TRUE(at::allclose(got, want, 1e-4, 1e-5));
}

}  // namespace
}  // namespace graft
