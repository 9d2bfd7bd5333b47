#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/v1/job.pb.h"
#include "server/jobs/encode.h"
#include "server/jobs/job_service.h"
#include "server/models/backbone_directory.h"
#include "server/store/dataset_store.h"
#include "tests/server/store/store_fixture.h"
#include "tests/support/fake_blob_store.h"
#include "tests/support/install_backbone.h"
#include "tests/support/pictures.h"
#include "worker/base/status.h"

namespace graft {

// A picture of one colour, 8 x 8 pixels.
inline std::string FlatBmp(int red, int green, int blue) { return ColourBmp({red, green, blue}, 8, 0, 0); }

// Stores with a dataset "colours" of reds and blues, and a backbone that has learned nothing.
class JobTest : public StoreTest {
 protected:
  static constexpr char kBackbone[] = "mobilenet_v3_small";

  JobTest()
      : jobs_(std::make_unique<JobStore>(db_.get(), &clock_, JobStore::Options(), EncodeStateChange)),
        datasets_(db_.get()), backbones_(directory_.path()), service_(jobs_.get(), &datasets_, &backbones_) {
    InstallTinyBackbone(directory_.path());
    StoreColours("v1", 8);
  }

  // A version with `count` training pictures of each class and half as many for validation.
  void StoreColours(const std::string& digest, int count) {
    DatasetVersion version;
    version.name = "colours";
    version.version = digest;
    version.classes = {{"blue", count, count / 2, 0}, {"red", count, count / 2, 0}};
    std::vector<DatasetItem> items;
    for (int i = 0; i < 3 * count; ++i) {
      DatasetItem item;
      item.labels = {i % 2};
      item.split = i < 2 * count ? Split::kTrain : Split::kValidation;
      item.file_name = absl::StrCat(i, ".bmp");
      const int shade = 255 - 4 * i;
      const auto put = blobs_.Put(item.labels[0] == 1 ? FlatBmp(shade, 0, 0) : FlatBmp(0, 0, shade));
      GRAFT_CHECK(put.ok());
      item.image_digest = put->digest;
      items.push_back(std::move(item));
    }
    GRAFT_CHECK(datasets_.Commit(version, items).ok());
  }

  v1::StartJobRequest Request() {
    v1::StartJobRequest request;
    request.mutable_spec()->set_dataset("colours");
    request.mutable_spec()->set_backbone(kBackbone);
    request.mutable_spec()->set_strategy(v1::STRATEGY_FROZEN_HEAD);
    return request;
  }

  FakeBlobStore blobs_;
  std::unique_ptr<JobStore> jobs_;
  DatasetStore datasets_;
  BackboneDirectory backbones_;
  JobService service_;
};

}  // namespace graft
