#include "worker/backbone/copy_stream.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <vector>

namespace graft {
namespace {

TEST(ToDeviceTest, LeavesWhatIsOnTheCpu) {
  const at::Tensor x = at::ones({2, 3});
  EXPECT_TRUE(ToDevice(x, at::kCPU).is_same(x));
}

// Has not run yet: no GPU.
TEST(ToDeviceTest, CopiesBesideWhatADeviceComputes) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "this machine has no CUDA";
  const at::Device device("cuda:0");
  at::Tensor busy = at::zeros({4096, 4096}, device);
  std::vector<at::Tensor> means;
  for (int i = 0; i < 20; ++i) {
    for (int k = 0; k < 20; ++k) busy = at::mm(busy, busy);
    // Neither the pinned memory nor the copy outlives this line, unless the streams keep them.
    means.push_back(ToDevice(at::full({8, 3, 224, 224}, static_cast<float>(i)).pin_memory(), device).mean());
  }
  for (int i = 0; i < 20; ++i) EXPECT_NEAR(means[i].item<double>(), i, 1e-3);
}

}  // namespace
}  // namespace graft
