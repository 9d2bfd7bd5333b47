#include "worker/infer/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/support/tiny_backbone.h"
#include "tests/support/tiny_checkpoint.h"
#include "tests/support/tiny_classifier.h"
#include "tests/worker/infer/test_calls.h"
#include "worker/device/threads.h"
#include "worker/image/decode.h"
#include "worker/image/preprocess.h"
#include "worker/infer/predictor.h"

namespace graft {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Predictor> Model(int split_point = 14, uint64_t seed = 1) {
  const auto backbone = TinyBackbone();
  auto predictor = Predictor::Load(SerializeCheckpoint(TinyCheckpoint(*backbone, split_point, 3, seed)), backbone);
  EXPECT_TRUE(predictor.ok()) << predictor.status();
  return *predictor;
}

std::string Picture(int i) { return ColourBmp(ClassColour(i), 8, 80, 1000 + i); }

ClassifyTask Task(std::shared_ptr<const Predictor> predictor, std::vector<std::string> images) {
  ClassifyTask task;
  task.predictor = std::move(predictor);
  task.images = std::move(images);
  return task;
}

// What a model says of one picture alone, without the batcher: probabilities by class.
std::vector<float> Alone(const Predictor& predictor, const std::string& picture) {
  const auto image = DecodeImage(picture, ImageLimits());
  EXPECT_TRUE(image.ok()) << image.status();
  at::Tensor input = at::empty({1, 224, 224, 3});
  Preprocess(*image, predictor.preprocessing(), input.data_ptr<float>());
  const at::Tensor row = predictor.Probabilities(predictor.Prefix(input.permute({0, 3, 1, 2}))).contiguous();
  return {row.data_ptr<float>(), row.data_ptr<float>() + row.numel()};
}

void ExpectPredicts(const std::vector<Prediction>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i].probability, want[got[i].class_index], 1e-4);
    if (i > 0) {
      EXPECT_GE(got[i - 1].probability, got[i].probability);
    }
  }
}

class BatcherTest : public testing::Test {
 protected:
  static Batcher::Options Options(int threads = 1) {
    Batcher::Options options;
    options.threads = threads;
    options.on_thread_start = UseOneIntraOpThread;
    return options;
  }
  // Nothing is taken from the queue before gate_ opens.
  Batcher::Options Gated() {
    Batcher::Options options = Options();
    options.on_thread_start = [this] {
      UseOneIntraOpThread();
      gate_.Wait();
    };
    return options;
  }
  void TearDown() override { gate_.Open(); }

  // Pictures for the one and the other in turn.
  void ExpectOneBatch(const std::shared_ptr<const Predictor>& one, const std::shared_ptr<const Predictor>& other) {
    ASSERT_EQ(one->prefix_key(), other->prefix_key());
    Batcher batcher(Gated(), &clock_);
    std::vector<Answer> answers(6);
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(batcher.Submit(Task(i % 2 == 0 ? one : other, {Picture(i)}), answers[i].Callback()).ok());
    }
    gate_.Open();
    for (int i = 0; i < 6; ++i) {
      const ClassifyOutcome outcome = answers[i].Get();
      ASSERT_TRUE(outcome.ok()) << outcome.status();
      ExpectPredicts((*outcome)[0], Alone(i % 2 == 0 ? *one : *other, Picture(i)));
    }
    while (batcher.stats().batches == 0) std::this_thread::yield();
    EXPECT_EQ(batcher.stats().batches, 1);
    EXPECT_EQ(batcher.stats().images, 6);
  }

  Gate gate_;
  FakeClock clock_;
  const std::shared_ptr<const Predictor> model_ = Model();
};

TEST_F(BatcherTest, PredictionsAreRightAndInTheCallsOrder) {
  Batcher batcher(Options(2), &clock_);
  std::vector<std::string> images;
  for (int i = 0; i < 20; ++i) images.push_back(Picture(i));  // more than one batch
  Answer answer;
  ASSERT_TRUE(batcher.Submit(Task(model_, images), answer.Callback()).ok());
  const ClassifyOutcome outcome = answer.Get();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  ASSERT_EQ(outcome->size(), images.size());
  for (size_t i = 0; i < images.size(); ++i) ExpectPredicts((*outcome)[i], Alone(*model_, images[i]));
}

TEST_F(BatcherTest, TopKCutsToTheMostProbable) {
  Batcher batcher(Options(), &clock_);
  for (const auto& [top_k, want] : {std::pair(1, 1), std::pair(2, 2), std::pair(3, 3), std::pair(100, 3)}) {
    ClassifyTask task = Task(model_, {Picture(0)});
    task.top_k = top_k;
    Answer answer;
    ASSERT_TRUE(batcher.Submit(std::move(task), answer.Callback()).ok());
    const ClassifyOutcome outcome = answer.Get();
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    ASSERT_EQ((*outcome)[0].size(), static_cast<size_t>(want));
    const std::vector<float> all = Alone(*model_, Picture(0));
    EXPECT_EQ((*outcome)[0][0].class_index, std::max_element(all.begin(), all.end()) - all.begin());
  }
}

TEST_F(BatcherTest, NoPictureIsInvalidArgument) {
  Batcher batcher(Options(), &clock_);
  Answer answer;
  EXPECT_EQ(batcher.Submit(Task(model_, {}), answer.Callback()).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(answer.times(), 0);
}

TEST_F(BatcherTest, FullQueueOfPicturesIsResourceExhausted) {
  Batcher::Options options = Gated();
  options.max_queued_images = 3;
  Batcher batcher(options, &clock_);
  Answer first, second, third;
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(0), Picture(1)}), first.Callback()).ok());
  EXPECT_EQ(batcher.stats().queued_images, 2);
  EXPECT_EQ(batcher.Submit(Task(model_, {Picture(0), Picture(1)}), second.Callback()).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(batcher.Submit(Task(model_, {Picture(2)}), third.Callback()).ok()) << "what still fits is taken";
  gate_.Open();
  EXPECT_TRUE(first.Get().ok());
  EXPECT_TRUE(third.Get().ok());
  EXPECT_EQ(second.times(), 0) << "a refused call is not answered a second time";
  EXPECT_EQ(batcher.stats().queued_images, 0);
  EXPECT_EQ(batcher.stats().queued_bytes, 0);
}

TEST_F(BatcherTest, FullQueueOfBytesIsResourceExhausted) {
  Batcher::Options options = Gated();
  const auto bytes = static_cast<int64_t>(Picture(0).size());
  options.max_queued_bytes = 2 * bytes;
  Batcher batcher(options, &clock_);
  Answer first, second;
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(0), Picture(1)}), first.Callback()).ok());
  EXPECT_EQ(batcher.stats().queued_bytes, 2 * bytes);
  EXPECT_EQ(batcher.Submit(Task(model_, {"x"}), second.Callback()).code(), absl::StatusCode::kResourceExhausted);
  gate_.Open();
  EXPECT_TRUE(first.Get().ok());
}

TEST_F(BatcherTest, TheFirstBadPictureIsNamedAndOtherCallsAreUnharmed) {
  Batcher batcher(Gated(), &clock_);
  Answer bad, good;
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(0), "bad", Picture(1), "bad"}), bad.Callback()).ok());
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(2)}), good.Callback()).ok());
  gate_.Open();
  const absl::Status status = bad.Get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::StartsWith("images[1]: "));
  const ClassifyOutcome outcome = good.Get();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  ExpectPredicts((*outcome)[0], Alone(*model_, Picture(2)));
}

TEST_F(BatcherTest, ABatchOfBadPicturesOnlyIsAnswered) {
  Batcher batcher(Options(), &clock_);
  Answer answer;
  ASSERT_TRUE(batcher.Submit(Task(model_, {"bad"}), answer.Callback()).ok());
  EXPECT_EQ(answer.Get().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(BatcherTest, APassedDeadlineIsRefusedAtOnce) {
  Batcher batcher(Options(), &clock_);
  ClassifyTask task = Task(model_, {Picture(0)});
  task.deadline = clock_.Now() - absl::Seconds(1);
  Answer answer;
  EXPECT_EQ(batcher.Submit(std::move(task), answer.Callback()).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(answer.times(), 0);
}

TEST_F(BatcherTest, AnIdleBatcherTakesAnyDeadlineThatHasNotPassed) {
  Batcher batcher(Options(), &clock_);
  Answer first, second, third;
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(0)}), first.Callback()).ok());
  ASSERT_TRUE(first.Get().ok());
  while (batcher.stats().batches == 0) std::this_thread::yield();  // it has learned how long a picture takes
  ClassifyTask task = Task(model_, {Picture(0)});
  task.deadline = clock_.Now() + absl::Nanoseconds(1);
  ASSERT_TRUE(batcher.Submit(std::move(task), second.Callback()).ok());
  EXPECT_TRUE(second.Get().ok());
  ClassifyTask late = Task(model_, {Picture(0)});
  late.deadline = clock_.Now() - absl::Nanoseconds(1);
  EXPECT_EQ(batcher.Submit(std::move(late), third.Callback()).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(BatcherTest, ADeadlineThatTheQueueCannotMeetIsRefused) {
  Batcher batcher(Options(), &clock_);
  Answer first, waiting, late;
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(0)}), first.Callback()).ok());
  ASSERT_TRUE(first.Get().ok());
  while (batcher.stats().batches == 0) std::this_thread::yield();  // it has learned how long a picture takes
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(0)}), [&](ClassifyOutcome) { gate_.Wait(); }).ok());
  while (batcher.stats().queued_images > 0) std::this_thread::yield();
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(0)}), waiting.Callback()).ok());
  ClassifyTask task = Task(model_, {Picture(0)});
  task.deadline = clock_.Now() + absl::Nanoseconds(1);
  EXPECT_EQ(batcher.Submit(std::move(task), late.Callback()).code(), absl::StatusCode::kDeadlineExceeded);
  gate_.Open();
  EXPECT_TRUE(waiting.Get().ok());
}

TEST_F(BatcherTest, ADeadlineThatPassesInTheQueueIsAnsweredNotRun) {
  Batcher batcher(Gated(), &clock_);
  ClassifyTask task = Task(model_, {Picture(0), Picture(1)});
  task.deadline = clock_.Now() + absl::Seconds(1);
  Answer late, other;
  ASSERT_TRUE(batcher.Submit(std::move(task), late.Callback()).ok());
  ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(2)}), other.Callback()).ok());
  clock_.Advance(absl::Seconds(2));
  gate_.Open();
  EXPECT_EQ(late.Get().status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(other.Get().ok());
}

TEST_F(BatcherTest, ACancelledCallIsAnsweredCancelled) {
  Batcher batcher(Gated(), &clock_);
  ClassifyTask task = Task(model_, {Picture(0), Picture(1)});
  CancelToken cancel = task.cancel;
  Answer answer;
  ASSERT_TRUE(batcher.Submit(std::move(task), answer.Callback()).ok());
  cancel.Stop(StopReason::kCancelled);
  gate_.Open();
  EXPECT_EQ(answer.Get().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(BatcherTest, DestructorAnswersWhatWaitsWithCancelledExactlyOnce) {
  auto batcher = std::make_unique<Batcher>(Gated(), &clock_);
  std::vector<Answer> answers(3);
  for (Answer& answer : answers) {
    ASSERT_TRUE(batcher->Submit(Task(model_, {Picture(0), Picture(1)}), answer.Callback()).ok());
  }
  Answer last;
  ASSERT_TRUE(batcher
                  ->Submit(Task(model_, {Picture(0)}),
                           [&, done = last.Callback()](ClassifyOutcome outcome) {
                             gate_.Open();  // or the destructor would wait for the thread for ever
                             done(std::move(outcome));
                           })
                  .ok());
  batcher.reset();
  for (Answer& answer : answers) {
    EXPECT_EQ(answer.times(), 1);
    EXPECT_EQ(answer.Get().status().code(), absl::StatusCode::kCancelled);
  }
  EXPECT_EQ(last.times(), 1);
}

TEST_F(BatcherTest, SubmitWhileShuttingDownIsUnavailable) {
  auto batcher = std::make_unique<Batcher>(Gated(), &clock_);
  Batcher* const raw = batcher.get();
  absl::Status late;
  ASSERT_TRUE(raw->Submit(Task(model_, {Picture(0)}),
                          [&](ClassifyOutcome) {
                            late = raw->Submit(Task(model_, {Picture(0)}),
                                               [](ClassifyOutcome) { ADD_FAILURE() << "it was refused"; });
                            gate_.Open();
                          })
                  .ok());
  batcher.reset();
  EXPECT_EQ(late.code(), absl::StatusCode::kUnavailable);
}

TEST_F(BatcherTest, ModelsOfOneBackboneShareABatch) { ExpectOneBatch(model_, Model(14, /*seed=*/2)); }

TEST_F(BatcherTest, ABackboneAndAModelOnItShareABatch) {
  const auto backbone = TinyClassifier();
  const auto model = Predictor::Load(SerializeCheckpoint(TinyCheckpoint(*backbone, 14, 5)), backbone);
  const auto own = Predictor::OfBackbone(backbone);
  ASSERT_TRUE(model.ok() && own.ok()) << model.status() << own.status();
  ExpectOneBatch(*model, *own);
}

TEST_F(BatcherTest, ModelsWithOtherPrefixesAreBatchedApartInOrder) {
  const auto deeper = Model(12);
  ASSERT_NE(deeper->prefix_key(), model_->prefix_key());
  Batcher batcher(Gated(), &clock_);
  std::vector<Answer> answers(6);
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(batcher.Submit(Task(i % 2 == 0 ? model_ : deeper, {Picture(i)}), answers[i].Callback()).ok());
  }
  gate_.Open();
  for (int i = 0; i < 6; ++i) {
    const ClassifyOutcome outcome = answers[i].Get();
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    ExpectPredicts((*outcome)[0], Alone(i % 2 == 0 ? *model_ : *deeper, Picture(i)));
  }
  while (batcher.stats().batches < 2) std::this_thread::yield();
  EXPECT_EQ(batcher.stats().batches, 2);
}

TEST_F(BatcherTest, ManyCallersEachGetTheirOwn) {
  Batcher batcher(Options(2), &clock_);
  std::vector<std::vector<float>> want;
  for (int i = 0; i < 3; ++i) want.push_back(Alone(*model_, Picture(i)));
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 5; ++round) {
        Answer answer;
        ASSERT_TRUE(batcher.Submit(Task(model_, {Picture(caller)}), answer.Callback()).ok());
        const ClassifyOutcome outcome = answer.Get();
        ASSERT_TRUE(outcome.ok()) << outcome.status();
        ExpectPredicts((*outcome)[0], want[caller]);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(BatcherOptionsTest, EachLimitIsChecked) {
  EXPECT_TRUE(Batcher::Options().Validate().ok());
  const auto expect_bad = [](const std::string& field, const std::function<void(Batcher::Options*)>& change) {
    Batcher::Options options;
    change(&options);
    EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(options.Validate().message()), HasSubstr(field));
  };
  expect_bad("threads: got 0", [](auto* o) { o->threads = 0; });
  expect_bad("max_batch: got 0", [](auto* o) { o->max_batch = 0; });
  expect_bad("max_queued_images: got 0", [](auto* o) { o->max_queued_images = 0; });
  expect_bad("max_queued_bytes: got 0", [](auto* o) { o->max_queued_bytes = 0; });
  expect_bad("max_bytes", [](auto* o) { o->image_limits.max_bytes = 0; });
}

}  // namespace
}  // namespace graft
