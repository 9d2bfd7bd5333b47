#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/backbone/architecture.h"
#include "worker/image/preprocess.h"

namespace graft {

// A pretrained network as an ordered list of frozen stages: the last one pools, so that running all of them gives
// features [n, feature_width()]. Stages run prepared: batch norm folded into the convolutions, channels-last.
//
// Threads:  safe for concurrent calls; nothing changes after Load().
// Lifetime: held by shared_ptr<const>; shared by all models and jobs that use it.
class Backbone {
 public:
  // Reads a safetensors file with torchvision's tensor names. Metadata: architecture (default: `fallback_architecture`),
  // mean, std ("r,g,b"), padding ("tensorflow_same"), source. `device`: "cpu" or "cuda:I"; the weights live there.
  //   NotFound          no such file
  //   InvalidArgument   unknown architecture; tensors that are missing, unexpected or misshapen (all listed)
  //   DataLoss          not a sound safetensors file
  static absl::StatusOr<std::shared_ptr<const Backbone>> Load(const std::string& path,
                                                              const std::string& fallback_architecture,
                                                              const std::string& device = "cpu");
  // The same from tensors in memory.
  static absl::StatusOr<std::shared_ptr<const Backbone>> Create(const SafeTensors& file,
                                                                const std::string& fallback_architecture,
                                                                const std::string& device = "cpu");
  ~Backbone();

  const std::string& name() const { return architecture_->name; }
  const std::string& digest() const { return digest_; }  // "sha256:..." of names, shapes and values
  const std::string& source() const { return source_; }
  const std::vector<std::string>& stage_names() const { return architecture_->stage_names; }
  int num_stages() const { return static_cast<int>(architecture_->stage_names.size()); }
  int64_t feature_width() const { return architecture_->feature_width; }
  const PreprocessSpec& preprocessing() const { return preprocessing_; }
  int64_t parameter_count(int begin, int end) const;  // of stages [begin, end)

  const at::Device& device() const { return device_; }
  // Where network inputs for this device are best made: pinned memory for CUDA, so that the copy runs beside compute.
  at::TensorOptions input_options() const;

  // Runs the frozen stages [begin, end) without recording gradients. `x` is float32 [n, 3, h, w] for begin = 0, else
  // what stage begin-1 gave; float32 [n, feature_width()] when end = num_stages().
  // `x` may be on the CPU; the result is on device(). May throw c10::Error: call it
  // inside TryTorch().
  at::Tensor Forward(const at::Tensor& x, int begin, int end) const;
  // The classifier that came with the weights: float32 [n, classes]; undefined when the file has none. `x` as above.
  at::Tensor OwnLogits(const at::Tensor& x) const;

  // New, unprepared, trainable copies of stages [begin, end), on device().
  std::vector<std::shared_ptr<Stage>> CopyStages(int begin, int end) const;

 private:
  struct Prepared;
  Backbone();
  static absl::StatusOr<std::shared_ptr<const Backbone>> Finish(std::shared_ptr<Backbone> backbone,
                                                                const SafeTensors& file);
  const Architecture* architecture_ = nullptr;
  BuildOptions build_options_;
  at::Device device_ = at::kCPU;
  PreprocessSpec preprocessing_;
  std::string digest_, source_;
  std::unique_ptr<Prepared> prepared_;
};

}  // namespace graft
