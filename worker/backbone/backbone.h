#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/backbone/architecture.h"
#include "worker/backbone/precision.h"
#include "worker/backbone/safetensors.h"
#include "worker/image/preprocess.h"

namespace graft {

struct TensorNames;  // worker/backbone/tensor_names.h

// A pretrained network as an ordered list of frozen stages: running all of them gives features [n, feature_width()].
// Stages run prepared: batch norm folded into the convolutions, channels-last.
//
// Threads:  safe for concurrent calls; nothing changes after Load().
// Lifetime: held by shared_ptr<const>; shared by all models and jobs that use it.
class Backbone {
 public:
  // What the digests of Untrained() begin with.
  static constexpr char kUntrained[] = "untrained:";

  // Reads a .safetensors or .gguf file with torchvision's or timm's tensor names. Metadata, all optional: architecture
  // (default: `name`), mean and std ("r,g,b"), resize_px, crop_px, interpolation (bilinear, bicubic), padding
  // (tensorflow_same), norm_epsilon, source, classes (names of its own classifier's, a JSON array or "imagenet_1000").
  // `name`: what it is called here. `device`: "cpu" or "cuda:I"; the weights live there.
  //   NotFound          no such file
  //   InvalidArgument   unknown architecture; metadata out of range; tensors that are missing, unexpected or misshapen
  //                     (all listed)
  //   DataLoss          not a sound file of its format
  static absl::StatusOr<std::shared_ptr<const Backbone>> Load(const std::string& path, const std::string& name,
                                                              const std::string& device = "cpu");
  // The same from tensors in memory.
  static absl::StatusOr<std::shared_ptr<const Backbone>> Create(const SafeTensors& file, const std::string& name,
                                                                const std::string& device = "cpu");
  // Random weights (He et al. 2015), the same for the same seed, for training from scratch. Its digest is "untrained:"
  // and the name, whatever the seed: a model trained from scratch keeps nothing of them.
  //   InvalidArgument   unknown architecture
  static absl::StatusOr<std::shared_ptr<const Backbone>> Untrained(const std::string& name,
                                                                   const std::string& device = "cpu",
                                                                   uint64_t seed = 0);
  // The operator's own network: a TorchScript file whose forward() takes float32 [n, 3, h, w] and returns float32
  // [n, feature_width], one frozen stage. `manifest` is JSON: feature_width (required), resize_px, crop_px, mean, std,
  // interpolation, min_px, max_px, multiple_px, source. The file holds code that runs: it must be the operator's.
  //   NotFound          no such file
  //   InvalidArgument   the manifest is not as above, or forward() does not give what it says
  //   DataLoss          not a TorchScript file
  static absl::StatusOr<std::shared_ptr<const Backbone>> LoadScript(const std::string& path,
                                                                    const std::string& manifest,
                                                                    const std::string& name,
                                                                    const std::string& device = "cpu");
  ~Backbone();

  const std::string& name() const { return name_; }
  const Architecture& architecture() const { return *architecture_; }
  const std::string& digest() const { return digest_; }  // "sha256:..." of network and values, or Untrained()'s
  const std::string& source() const { return source_; }
  const std::vector<std::string>& stage_names() const { return stage_names_; }
  int num_stages() const { return static_cast<int>(stage_names_.size()); }
  int64_t feature_width() const { return architecture_->feature_width; }
  const PreprocessSpec& preprocessing() const { return preprocessing_; }
  int64_t parameter_count(int begin, int end) const;  // of stages [begin, end)
  // Names of its own classifier's classes; empty when it has none.
  const std::vector<std::string>& class_names() const { return class_names_; }
  int64_t classifier_bytes() const;  // of its own classifier's weights; 0 without one

  // preprocessing() for inputs of another size: 0 = the same; else the resized side keeps its ratio to the crop.
  //   InvalidArgument  "input_px: got 100, want multiples of 16 px, from 32 px to 512 px"
  absl::StatusOr<PreprocessSpec> PreprocessingFor(int input_px) const;

  const at::Device& device() const { return device_; }
  // Where network inputs for this device are best made: pinned memory for CUDA, so that the copy runs beside compute.
  at::TensorOptions input_options() const;

  // Runs the frozen stages [begin, end) without recording gradients. `x` is float32 [n, 3, h, w] for begin = 0, else
  // what stage begin-1 gave; float32 [n, feature_width()] when end = num_stages().
  // `x` may be on the CPU; the result is on device(). In a lower precision (not kAuto) stages with parameters compute
  // in it and give its dtype; those without give float32, and so does the last stage. May throw c10::Error: call it
  // inside TryTorch().
  at::Tensor Forward(const at::Tensor& x, int begin, int end, Precision precision = Precision::kFloat32) const;
  // Its own classifier on features [n, feature_width()]: float32 [n, class_names().size()]. It must have one. May
  // throw.
  at::Tensor OwnLogits(const at::Tensor& features) const;

  // New, unprepared, trainable copies of stages [begin, end), on device().
  std::vector<std::shared_ptr<Stage>> CopyStages(int begin, int end) const;

 private:
  struct Parts;
  Backbone();
  absl::Status Build(const TensorNames& tensors);
  std::string ComputeDigest() const;
  void Prepare();
  const std::vector<std::shared_ptr<Stage>>& StagesIn(Precision precision) const;

  std::string name_;
  std::shared_ptr<const Architecture> architecture_;  // the registry's own are not owned
  std::vector<std::string> stage_names_, class_names_;
  BuildOptions build_options_;
  at::Device device_ = at::kCPU;
  PreprocessSpec preprocessing_;
  std::string digest_, source_;
  std::unique_ptr<Parts> parts_;
};

// Backbone::PreprocessingFor() of a backbone of which no more is known: `own` is its preprocessing().
absl::StatusOr<PreprocessSpec> PreprocessingFor(const Architecture& architecture, const PreprocessSpec& own,
                                                int input_px);

}  // namespace graft
