// The least that classifying pictures can cost: decode, preprocess and predict in a loop, with the server's own worker
// libraries and no server around them. Prints one JSON object: images, seconds, cpu_seconds.
#include <sys/resource.h>
#include <torch/torch.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "worker/backbone/backbone.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/device/blas_kernels.h"
#include "worker/device/threads.h"
#include "worker/image/decode.h"
#include "worker/image/preprocess.h"
#include "worker/infer/predictor.h"

namespace graft {
namespace {

struct Options {
  std::string backbone, checkpoint;
  std::vector<std::string> files;
  int threads = 1;
  int batch = 8;             // Batcher::Options::max_batch
  double warm_seconds = 2;   // not measured
  double seconds = 10;
};

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  if (!in || !(bytes << in.rdbuf())) return absl::NotFoundError(absl::StrCat(path, ": cannot be read, or is empty"));
  return bytes.str();
}

double CpuSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// One batch from picture `first` on, the last after the first.
absl::Status ClassifyBatch(const Predictor& predictor, const std::vector<std::string>& images, size_t first,
                           int batch) {
  const PreprocessSpec& spec = predictor.preprocessing();
  const int64_t row = int64_t{spec.crop_px} * spec.crop_px * 3;
  const at::Tensor input = at::empty({batch, 3, spec.crop_px, spec.crop_px},
                                     at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast));
  for (int i = 0; i < batch; ++i) {
    ASSIGN_OR_RETURN(const Image image, DecodeImage(images[(first + i) % images.size()], ImageLimits()));
    Preprocess(image, spec, input.data_ptr<float>() + i * row);
  }
  torch::NoGradGuard no_grad;
  const at::Tensor best = predictor.Probabilities(predictor.Prefix(input)).argmax(1);  // [batch]
  GRAFT_CHECK(best.size(0) == batch);
  return absl::OkStatus();
}

// Threads that classify until they are told to stop.
class Loop {
 public:
  Loop(const Options& options, const Predictor& predictor, const std::vector<std::string>& images) {
    for (int i = 0; i < options.threads; ++i) {
      threads_.emplace_back([this, &options, &predictor, &images, i] {
        UseOneIntraOpThread();
        for (size_t first = i * images.size() / options.threads; !stop_; first += options.batch) {
          const absl::Status status =
              TryTorch("predict", [&] { return ClassifyBatch(predictor, images, first, options.batch); });
          if (!status.ok()) {
            std::cerr << "graft_bench_bare_loop: " << status.message() << "\n";
            std::exit(EXIT_FAILURE);
          }
          done_ += options.batch;
        }
      });
    }
  }
  ~Loop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  int64_t done() const { return done_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> done_{0};
  std::vector<std::thread> threads_;
};

void Measure(const Options& options, const Predictor& predictor, const std::vector<std::string>& images) {
  using Clock = std::chrono::steady_clock;
  const Loop loop(options, predictor, images);
  std::this_thread::sleep_for(std::chrono::duration<double>(options.warm_seconds));
  const Clock::time_point start = Clock::now();
  const double cpu_start = CpuSeconds();
  const int64_t done_start = loop.done();
  std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
  const int64_t images_done = loop.done() - done_start;
  const double cpu_seconds = CpuSeconds() - cpu_start;
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("{\"images\": %lld, \"seconds\": %.3f, \"cpu_seconds\": %.3f}\n", static_cast<long long>(images_done),
              seconds, cpu_seconds);
}

absl::Status Run(const Options& options) {
  UseOneIntraOpThread();
  ASSIGN_OR_RETURN(std::shared_ptr<const Backbone> backbone, Backbone::Load(options.backbone, "mobilenet_v3_small"));
  ASSIGN_OR_RETURN(const std::string checkpoint, ReadFile(options.checkpoint));
  ASSIGN_OR_RETURN(const std::shared_ptr<const Predictor> predictor, Predictor::Load(checkpoint, std::move(backbone)));
  std::vector<std::string> images(options.files.size());
  for (size_t i = 0; i < images.size(); ++i) {
    ASSIGN_OR_RETURN(images[i], ReadFile(options.files[i]));
  }
  Measure(options, *predictor, images);
  return absl::OkStatus();
}

}  // namespace
}  // namespace graft

int main(int argc, char** argv) {
  graft::UseFastBlasKernels(argv);
  graft::Options options;
  CLI::App app("Classifies pictures in a bare loop and prints its CPU time.", "graft_bench_bare_loop");
  app.add_option("--backbone", options.backbone, "Weights, safetensors")->required();
  app.add_option("--checkpoint", options.checkpoint, "A trained model's checkpoint")->required();
  app.add_option("--threads", options.threads, "Loops side by side")->check(CLI::PositiveNumber);
  app.add_option("--batch", options.batch, "Pictures in a batch")->check(CLI::PositiveNumber);
  app.add_option("--warm-seconds", options.warm_seconds, "Before the measurement")->check(CLI::NonNegativeNumber);
  app.add_option("--seconds", options.seconds, "Of the measurement")->check(CLI::PositiveNumber);
  app.add_option("files", options.files, "Pictures")->required();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = graft::Run(options);
  if (status.ok()) return EXIT_SUCCESS;
  std::cerr << "graft_bench_bare_loop: " << status.message() << "\n";
  return EXIT_FAILURE;
}
