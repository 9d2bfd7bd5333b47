#include "server/models/classifier.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/base/status.h"

namespace graft {

void Classifier::Classify(Request request, std::function<void(absl::StatusOr<Answer>)> done) {
  const Lane& lane = LeastBusy();
  absl::StatusOr<Answer> resolved = Resolve(request.model, lane);
  if (!resolved.ok()) return done(resolved.status());

  ClassifyTask task;
  task.predictor = resolved->predictor;
  task.images = std::move(request.images);
  task.top_k = request.top_k;
  task.deadline = request.deadline;
  task.cancel = request.cancel;
  // Shared: `done` is for the batcher when it accepts the task, and for us when it does not.
  const auto shared_done = std::make_shared<std::function<void(absl::StatusOr<Answer>)>>(std::move(done));
  auto on_outcome = [shared_done, answer = *std::move(resolved)](ClassifyOutcome outcome) mutable {
    if (!outcome.ok()) return (*shared_done)(outcome.status());
    answer.predictions = *std::move(outcome);
    (*shared_done)(std::move(answer));
  };
  const absl::Status submitted = lane.batcher->Submit(std::move(task), std::move(on_outcome));
  if (!submitted.ok()) (*shared_done)(submitted);
}

const Classifier::Lane& Classifier::LeastBusy() const {
  return *std::min_element(lanes_.begin(), lanes_.end(), [](const Lane& a, const Lane& b) {
    return a.batcher->stats().queued_images < b.batcher->stats().queued_images;
  });
}

absl::StatusOr<Classifier::Answer> Classifier::Resolve(const std::string& reference, const Lane& lane) {
  Answer answer;
  if (const std::optional<std::string> backbone = BackboneOf(reference)) {
    answer.model = reference;
    ASSIGN_OR_RETURN(answer.predictor, LoadBackbone(*backbone, lane));
    return answer;
  }
  ASSIGN_OR_RETURN(const ModelVersionRecord version, models_->Resolve(reference));
  answer.model = absl::StrCat(version.model, "/", version.version);
  ASSIGN_OR_RETURN(answer.predictor, Load(version, lane));
  return answer;
}

absl::StatusOr<std::shared_ptr<const Predictor>> Classifier::Load(const ModelVersionRecord& version,
                                                                   const Lane& lane) {
  // The digest is part of the key: a version that was deleted and made again by its number is another model.
  const std::string key = absl::StrCat(version.model, "/", version.version, "@", version.checkpoint_digest);
  return lane.cache->Get(key, [&]() -> absl::StatusOr<std::shared_ptr<const Predictor>> {
    absl::StatusOr<std::string> checkpoint = blobs_->Get(version.checkpoint_digest);
    if (absl::IsNotFound(checkpoint.status())) {
      return absl::DataLossError(
          absl::StrCat("model ", version.model, "/", version.version, ": its checkpoint is no longer stored"));
    }
    RETURN_IF_ERROR(checkpoint.status());
    ASSIGN_OR_RETURN(std::shared_ptr<const Backbone> backbone, IsUntrained(version.backbone_digest)
                                                                   ? lane.backbones->GetUntrained(version.backbone)
                                                                   : lane.backbones->Get(version.backbone));
    return Predictor::Load(*checkpoint, std::move(backbone));
  });
}

absl::StatusOr<std::shared_ptr<const Predictor>> Classifier::LoadBackbone(const std::string& name, const Lane& lane) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const Backbone> backbone, lane.backbones->Get(name));
  const std::string key = absl::StrCat(kBackboneModel, "/", name, "@", backbone->digest());
  return lane.cache->Get(key, [&] { return Predictor::OfBackbone(backbone); });
}

}  // namespace graft
