#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/models/backbone_directory.h"
#include "server/store/blob_store.h"
#include "server/store/model_store.h"
#include "worker/infer/batcher.h"
#include "worker/infer/model_cache.h"
#include "worker/infer/predictor.h"

namespace graft {

// Joins the model registry and the backbones with the batcher: a reference becomes a loaded predictor, pictures become
// predictions.
//
// Threads: safe. Classify() may load a model and therefore block: call it from an executor, not a gRPC thread.
class Classifier {
 public:
  // What serves on one device.
  struct Lane {
    BackboneDirectory* backbones;
    ModelCache* cache;
    Batcher* batcher;
  };
  // At least one lane; a call goes to the one with the fewest pictures waiting.
  Classifier(ModelStore* models, BlobStore* blobs, std::vector<Lane> lanes)
      : models_(models), blobs_(blobs), lanes_(std::move(lanes)) {}

  struct Request {
    std::string model;                // reference: to a trained model, or "backbone/NAME"
    std::vector<std::string> images;  // encoded
    int top_k = 5;
    absl::Time deadline = absl::InfiniteFuture();
    CancelToken cancel;
  };
  struct Answer {
    std::string model;                // "name/N" or "backbone/NAME"
    std::shared_ptr<const Predictor> predictor;  // for class names
    std::vector<std::vector<Prediction>> predictions;
  };
  // `done` runs exactly once, here or on a serving thread.
  //   InvalidArgument, NotFound, DataLoss, FailedPrecondition   of the reference and its checkpoint
  //   and everything Batcher::Submit and its outcome can say
  void Classify(Request request, std::function<void(absl::StatusOr<Answer>)> done);

 private:
  // A reference's meaning: `predictions` is empty.
  absl::StatusOr<Answer> Resolve(const std::string& reference, const Lane& lane);
  absl::StatusOr<std::shared_ptr<const Predictor>> Load(const ModelVersionRecord& version, const Lane& lane);
  absl::StatusOr<std::shared_ptr<const Predictor>> LoadBackbone(const std::string& name, const Lane& lane);
  const Lane& LeastBusy() const;

  ModelStore* const models_;
  BlobStore* const blobs_;
  const std::vector<Lane> lanes_;
};

}  // namespace graft
