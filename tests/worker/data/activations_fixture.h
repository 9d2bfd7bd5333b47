#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdint>
#include <mutex>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/support/tiny_backbone.h"
#include "worker/base/status.h"
#include "worker/data/activations.h"
#include "worker/device/threads.h"

namespace graft {

// Ten colour pictures of 64 px, in chunks of four.
class ActivationsFixture : public testing::Test {
 protected:
  Activations::Options Options(int split_point) {
    Activations::Options options;
    options.backbone = TinyBackbone();
    const auto preprocessing = TinyBackbone()->PreprocessingFor(64);
    GRAFT_CHECK(preprocessing.ok());
    options.preprocessing = *preprocessing;
    options.split_point = split_point;
    options.chunk = 4;
    return options;
  }
  absl::Status Fill(Activations* activations) {
    return activations->Fill(&pool_, CancelToken(), [](int64_t) { return absl::OkStatus(); });
  }
  absl::Status Prepare(Activations* activations, int64_t view, const std::vector<int64_t>& indices) {
    return activations->Prepare(view, indices.data(), static_cast<int64_t>(indices.size()), &pool_, CancelToken());
  }
  static at::Tensor Gather(const Activations& activations, const std::vector<int64_t>& indices, int64_t view = 0) {
    auto rows = activations.Gather(indices.data(), static_cast<int64_t>(indices.size()), view);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return *std::move(rows);
  }
  static at::Tensor GatherAll(const Activations& activations, int64_t view = 0) {
    return Gather(activations, All(activations.size()), view);
  }
  static std::vector<int64_t> All(int64_t count) {
    std::vector<int64_t> all(count);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  // Notes what it reads in reads_.
  ImageReader CountedReader() {
    return [this](const std::string& id) {
      const std::lock_guard<std::mutex> lock(mu_);
      reads_.insert(id);
      return data_.read(id);
    };
  }

  Dataset data_ = ColourDataset(2, 5, 1);
  std::mutex mu_;
  std::multiset<std::string> reads_;
  WorkerPool pool_{{2, 0, "test", UseOneIntraOpThread}};
};

}  // namespace graft
