// Times the forward pass of a backbone, prepared as for serving, with random weights and pictures: one thread, as each
// of graft's workers has. Prints one JSON object: name, side_px, batch, ms_per_image (median over batches).
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "worker/backbone/backbone.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/device/blas_kernels.h"
#include "worker/device/threads.h"

namespace graft {
namespace {

struct Options {
  std::string name;
  int side_px = 0;  // 0: the backbone's own
  int batch = 8;
  bool bfloat16 = false;
  double seconds = 3;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

absl::Status Run(const Options& options) {
  UseOneIntraOpThread();
  ASSIGN_OR_RETURN(const auto backbone, Backbone::Untrained(options.name));
  ASSIGN_OR_RETURN(const PreprocessSpec spec, backbone->PreprocessingFor(options.side_px));
  const Precision precision = options.bfloat16 ? Precision::kBfloat16 : Precision::kFloat32;
  return TryTorch("run the backbone", [&] {
    const at::Tensor images =
        at::randn({options.batch, 3, spec.crop_px, spec.crop_px}).contiguous(at::MemoryFormat::ChannelsLast);
    std::vector<double> seconds;
    const double end = Now() + options.seconds;
    for (int run = 0; run < 4 || Now() < end; ++run) {
      const double start = Now();
      backbone->Forward(images, 0, backbone->num_stages(), precision);
      if (run >= 1) seconds.push_back(Now() - start);  // the first one warms up
    }
    std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
    std::cout << absl::StrCat("{\"name\": \"", options.name, "\", \"side_px\": ", spec.crop_px, ", \"batch\": ",
                              options.batch, ", \"ms_per_image\": ",
                              1e3 * seconds[seconds.size() / 2] / options.batch, "}\n");
    return absl::OkStatus();
  });
}

}  // namespace
}  // namespace graft

int main(int argc, char** argv) {
  graft::UseFastBlasKernels(argv);
  graft::Options options;
  CLI::App app("Times the forward pass of a backbone");
  app.add_option("name", options.name, "an architecture")->required();
  app.add_option("--side-px", options.side_px, "of the pictures");
  app.add_option("--batch", options.batch, "pictures")->check(CLI::Range(1, 1024));
  app.add_flag("--bfloat16", options.bfloat16, "in bfloat16 instead of float32");
  app.add_option("--seconds", options.seconds, "to run");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = graft::Run(options);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
