#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace graft {

// Every metric of the service, over prometheus-cpp's registry. Names, labels and units: docs/operations.md.
//
// Threads: safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // One finished RPC: graft_rpc_requests_total{method,code}, graft_rpc_duration_seconds{method}.
  void CountRpc(absl::string_view method, absl::string_view code, absl::Duration duration);
  // One finished Classify: graft_classify_requests_total{model,version,code}, and of those that were OK
  // graft_classify_images_total{model,version}, graft_classify_duration_seconds{model,version}. `model_version` is
  // "name/N", "backbone/NAME" (one model, version empty), or empty when none was resolved: what callers make up is no
  // label.
  void CountClassify(absl::string_view model_version, absl::string_view code, int images, absl::Duration duration);

  // Newest values of a running job: graft_job_{train,val}_{loss,accuracy}{job}, graft_job_epoch{job}; counts
  // graft_epochs_total. The gauges go when the job ends.
  struct Epoch {
    double train_loss = 0, train_accuracy = 0, val_loss = 0, val_accuracy = 0;
    int epoch = 0;
  };
  void SetJobEpoch(const std::string& job_id, const Epoch& epoch);
  void RemoveJob(const std::string& job_id);

  // `collect` is called before each scrape to set gauges that others own (jobs by state, queue lengths, device use).
  void OnScrape(std::function<void()> collect);
  // One of a few values that others own. `label_value` names which of them; keep their number bounded.
  struct Sample {
    std::string name, help;
    std::string label, label_value;  // both empty: no label
    double value = 0;
  };
  void SetGauge(const Sample& sample);
  // The same for a total that only grows; a smaller value than before is ignored.
  void SetCounter(const Sample& sample);

  // Text exposition format 0.0.4 of everything.
  std::string Scrape();

 private:
  struct Registry;
  std::unique_ptr<Registry> registry_;
};

}  // namespace graft
