#include "server/metrics/metrics.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"
#include "worker/base/mutex.h"

namespace graft {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Labels;

// Each label value is a time series for ever, and Prometheus pays for each: beyond this many they are "other".
constexpr size_t kMaxMethods = 100;
constexpr size_t kMaxModelVersions = 1000;

const Histogram::BucketBoundaries& DurationBuckets() {  // seconds
  static const auto* const buckets = new Histogram::BucketBoundaries{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                                     0.5,   1,      2.5,   5,    10,    30,   60};
  return *buckets;
}

// Lets the first `capacity` different values through.
class BoundedLabel {
 public:
  explicit BoundedLabel(size_t capacity) : capacity_(capacity) {}
  std::string Value(absl::string_view value) {
    std::string text(value);
    MutexLock lock(&mu_);
    if (known_.count(text) > 0) return text;
    if (known_.size() >= capacity_) return "other";
    known_.insert(text);
    return text;
  }

 private:
  const size_t capacity_;
  Mutex mu_;
  std::set<std::string> known_ ABSL_GUARDED_BY(mu_);
};

// "flowers/3" as labels; an unresolved model is empty. "backbone/NAME" has no version: it is one model.
Labels ModelLabels(const std::string& model_version) {
  if (absl::StartsWith(model_version, "backbone/")) return {{"model", model_version}, {"version", ""}};
  const std::pair<std::string, std::string> parts = absl::StrSplit(model_version, absl::MaxSplits('/', 1));
  return {{"model", parts.first}, {"version", parts.second}};
}

Labels With(Labels labels, const std::string& name, absl::string_view value) {
  labels[name] = std::string(value);
  return labels;
}

Labels SampleLabels(const Metrics::Sample& sample) {
  if (sample.label.empty()) return {};
  return {{sample.label, sample.label_value}};
}

}  // namespace

struct Metrics::Registry {
  Family<Counter>& Counters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  Family<Gauge>& Gauges(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
  }
  Family<Histogram>& Histograms(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }

  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
  Family<Counter>& rpc_requests = Counters("graft_rpc_requests_total", "Finished RPCs.");
  Family<Histogram>& rpc_duration = Histograms("graft_rpc_duration_seconds", "Time from an RPC's start to its end.");
  Family<Counter>& classify_requests = Counters("graft_classify_requests_total", "Finished Classify requests.");
  Family<Counter>& classify_images = Counters("graft_classify_images_total", "Pictures classified.");
  Family<Histogram>& classify_duration =
      Histograms("graft_classify_duration_seconds", "Time of a successful Classify request.");
  Family<Counter>& epochs_family = Counters("graft_epochs_total", "Epochs trained by this process.");
  Counter& epochs = epochs_family.Add({});
  std::map<std::string, Family<Gauge>*> job_gauges = {
      {"train_loss", &Gauges("graft_job_train_loss", "Newest training loss of a running job, nats.")},
      {"train_accuracy", &Gauges("graft_job_train_accuracy", "Newest training accuracy of a running job, 0 to 1.")},
      {"val_loss", &Gauges("graft_job_val_loss", "Newest validation loss of a running job, nats.")},
      {"val_accuracy", &Gauges("graft_job_val_accuracy", "Newest validation accuracy of a running job, 0 to 1.")},
      {"epoch", &Gauges("graft_job_epoch", "Newest epoch of a running job, within its phase.")},
  };
  BoundedLabel methods{kMaxMethods};
  BoundedLabel model_versions{kMaxModelVersions};

  Mutex mu;
  std::map<std::string, std::vector<std::pair<Family<Gauge>*, Gauge*>>> of_job ABSL_GUARDED_BY(mu);
  std::vector<std::function<void()>> collectors ABSL_GUARDED_BY(mu);
};

Metrics::Metrics() : registry_(std::make_unique<Registry>()) {}
Metrics::~Metrics() = default;

void Metrics::CountRpc(absl::string_view method, absl::string_view code, absl::Duration duration) {
  const Labels labels = {{"method", registry_->methods.Value(method)}};
  registry_->rpc_requests.Add(With(labels, "code", code)).Increment();
  registry_->rpc_duration.Add(labels, DurationBuckets()).Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::CountClassify(absl::string_view model_version, absl::string_view code, int images,
                            absl::Duration duration) {
  const Labels labels = ModelLabels(registry_->model_versions.Value(model_version));
  registry_->classify_requests.Add(With(labels, "code", code)).Increment();
  if (code != "OK") return;
  registry_->classify_images.Add(labels).Increment(images);
  registry_->classify_duration.Add(labels, DurationBuckets()).Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::SetJobEpoch(const std::string& job_id, const Epoch& epoch) {
  const std::map<std::string, double> values = {{"train_loss", epoch.train_loss},
                                                {"train_accuracy", epoch.train_accuracy},
                                                {"val_loss", epoch.val_loss},
                                                {"val_accuracy", epoch.val_accuracy},
                                                {"epoch", static_cast<double>(epoch.epoch)}};
  registry_->epochs.Increment();
  MutexLock lock(&registry_->mu);
  auto& gauges = registry_->of_job[job_id];
  const bool first = gauges.empty();
  for (const auto& [name, value] : values) {
    Family<Gauge>* const family = registry_->job_gauges.at(name);
    Gauge& gauge = family->Add({{"job", job_id}});
    gauge.Set(value);
    if (first) gauges.emplace_back(family, &gauge);
  }
}

void Metrics::RemoveJob(const std::string& job_id) {
  MutexLock lock(&registry_->mu);
  const auto found = registry_->of_job.find(job_id);
  if (found == registry_->of_job.end()) return;
  for (const auto& [family, gauge] : found->second) family->Remove(gauge);
  registry_->of_job.erase(found);
}

void Metrics::OnScrape(std::function<void()> collect) {
  MutexLock lock(&registry_->mu);
  registry_->collectors.push_back(std::move(collect));
}

void Metrics::SetGauge(const Sample& sample) {
  registry_->Gauges(sample.name.c_str(), sample.help.c_str()).Add(SampleLabels(sample)).Set(sample.value);
}

void Metrics::SetCounter(const Sample& sample) {
  Counter& counter = registry_->Counters(sample.name.c_str(), sample.help.c_str()).Add(SampleLabels(sample));
  MutexLock lock(&registry_->mu);  // two scrapes at once must not add the same growth twice
  const double growth = sample.value - counter.Value();
  if (growth > 0) counter.Increment(growth);
}

std::string Metrics::Scrape() {
  std::vector<std::function<void()>> collectors;
  {
    MutexLock lock(&registry_->mu);
    collectors = registry_->collectors;
  }
  for (const auto& collect : collectors) collect();
  return prometheus::TextSerializer().Serialize(registry_->registry.Collect());
}

}  // namespace graft
