#include "server/rpc/classify_context.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "server/metrics/metrics.h"
#include "server/models/classifier.h"
#include "server/rpc/validate.h"
#include "worker/infer/predictor.h"

namespace graft {
namespace {

constexpr int kDefaultTopK = 5;

Classifier::Request MakeRequest(v1::ClassifyRequest request, absl::Time deadline, CancelToken cancel) {
  Classifier::Request out;
  out.model = std::move(*request.mutable_model());
  out.images.reserve(request.images_size());
  for (std::string& image : *request.mutable_images()) out.images.push_back(std::move(image));
  out.top_k = request.top_k() == 0 ? kDefaultTopK : request.top_k();
  out.deadline = deadline;
  out.cancel = std::move(cancel);
  return out;
}

v1::ClassifyResponse MakeResponse(const Classifier::Answer& answer) {
  v1::ClassifyResponse response;
  response.set_model(answer.model);
  response.set_multi_label(answer.predictor->multi_label());
  const std::vector<std::string>& names = answer.predictor->class_names();
  for (const std::vector<Prediction>& predictions : answer.predictions) {
    v1::ImageResult* const result = response.add_results();
    for (const Prediction& prediction : predictions) {
      v1::Prediction* const out = result->add_predictions();
      out->set_label(names[prediction.class_index]);
      out->set_class_index(prediction.class_index);
      out->set_probability(prediction.probability);
    }
  }
  return response;
}

}  // namespace

void RunClassify(const ClassifyContext& classify, v1::ClassifyRequest request, absl::Time deadline, CancelToken cancel,
                 std::function<void(absl::StatusOr<v1::ClassifyResponse>)> done) {
  const absl::Status valid = Validate(request, classify.limits);
  if (!valid.ok()) return done(valid);
  if (cancel.stopped()) return done(absl::CancelledError("the caller gave up"));
  if (absl::Now() >= deadline) return done(absl::DeadlineExceededError("the call's deadline has passed"));
  const int images = request.images_size();
  const absl::Time start = absl::Now();
  classify.classifier->Classify(
      MakeRequest(std::move(request), deadline, std::move(cancel)),
      [metrics = classify.metrics, images, start, done = std::move(done)](absl::StatusOr<Classifier::Answer> answer) {
        // An error does not tell whether the reference was resolved, so it has no model.
        metrics->CountClassify(answer.ok() ? answer->model : "",
                               absl::StatusCodeToString(answer.status().code()), images, absl::Now() - start);
        if (!answer.ok()) return done(answer.status());
        done(MakeResponse(*answer));
      });
}

}  // namespace graft
