#include "server/jobs/job_spec.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"
#include "server/ingest/names.h"
#include "server/models/backbone_directory.h"
#include "worker/backbone/architecture.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr size_t kMaxRequestIdBytes = 128;
// A batch's activations grow with it: no request may take all memory.
constexpr int64_t kMaxBatchPixels = int64_t{1024} * 224 * 224;

std::string WithSpecPath(absl::string_view line) {
  static const auto* const paths = new std::map<std::string, std::string>{
      {"backbone", "spec.backbone"},
      {"input_px", "spec.input_px"},
      {"epochs", "spec.epochs"},
      {"batch_size", "spec.batch_size"},
      {"learning_rate", "spec.learning_rate"},
      {"unfreeze_stages", "spec.fine_tune.unfreeze_stages"},
      {"head_epochs", "spec.fine_tune.head_epochs"},
  };
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 1));
  const auto path = paths->find(std::string(parts.first));
  if (path == paths->end()) return std::string(line);
  return absl::StrCat(path->second, ":", parts.second);
}

bool IsStrategy(v1::Strategy strategy) {
  return v1::Strategy_IsValid(strategy) && strategy != v1::STRATEGY_UNSPECIFIED;
}

// A model's name that is free for trained ones.
absl::Status CheckModelName(const std::string& name) {
  RETURN_IF_ERROR(CheckName("spec.model", name));
  if (name != kBackboneModel) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("spec.model: got \"", name, "\", want another name: ", name, "/NAME is a backbone itself"));
}

// Violations of everything but the strategy's numbers.
std::vector<std::string> TextViolations(const v1::StartJobRequest& request) {
  std::vector<std::string> violations;
  const auto add = [&](const absl::Status& status) {
    if (!status.ok()) violations.emplace_back(status.message());
  };
  const v1::JobSpec& spec = request.spec();
  if (request.request_id().size() > kMaxRequestIdBytes) {
    violations.push_back(
        absl::StrCat("request_id: got ", request.request_id().size(), " bytes, want at most ", kMaxRequestIdBytes));
  } else if (!IsPlainText(request.request_id())) {
    violations.push_back("request_id: got control characters, want text");
  }
  add(CheckName("spec.dataset", spec.dataset()));
  if (spec.backbone().empty()) violations.push_back("spec.backbone: got \"\", want a name from ListBackbones");
  if (!IsStrategy(spec.strategy())) {
    violations.push_back(absl::StrCat("spec.strategy: got ", static_cast<int>(spec.strategy()),
                                      ", want STRATEGY_FROZEN_HEAD, STRATEGY_FINE_TUNE or STRATEGY_SCRATCH"));
  }
  if (!spec.model().empty()) add(CheckModelName(spec.model()));
  if (spec.has_fine_tune() && IsStrategy(spec.strategy()) && spec.strategy() != v1::STRATEGY_FINE_TUNE) {
    violations.push_back("spec.fine_tune: got options, want them only with STRATEGY_FINE_TUNE");
  }
  if (spec.input_px() < 0 || spec.input_px() > kMaxInputPx) {
    violations.push_back(absl::StrCat("spec.input_px: got ", spec.input_px(), ", want 0 to ", kMaxInputPx));
  }
  add(CheckBatchPixels(spec));
  return violations;
}

v1::JobSpec Effective(const v1::JobSpec& spec, const StrategyOptions& options) {
  v1::JobSpec effective = spec;
  effective.set_epochs(options.epochs);
  effective.set_batch_size(options.batch_size);
  effective.set_learning_rate(options.learning_rate);
  if (spec.strategy() == v1::STRATEGY_FINE_TUNE) {
    effective.mutable_fine_tune()->set_unfreeze_stages(options.unfreeze_stages);
    effective.mutable_fine_tune()->set_head_epochs(options.head_epochs);
  }
  return effective;
}

Strategy FromProto(v1::Strategy strategy) {
  switch (strategy) {
    case v1::STRATEGY_FINE_TUNE: return Strategy::kFineTune;
    case v1::STRATEGY_SCRATCH: return Strategy::kScratch;
    default: return Strategy::kFrozenHead;  // also of what CheckStartJob refuses
  }
}

// Keeps the first difference that MessageDifferencer finds; it goes through the fields by number.
class FirstDifferenceReporter : public google::protobuf::util::MessageDifferencer::Reporter {
 public:
  using Fields = std::vector<google::protobuf::util::MessageDifferencer::SpecificField>;
  using Message = google::protobuf::Message;

  void ReportAdded(const Message& want, const Message& got, const Fields& path) override { Keep(want, got, path); }
  void ReportDeleted(const Message& want, const Message& got, const Fields& path) override { Keep(want, got, path); }
  void ReportModified(const Message& want, const Message& got, const Fields& path) override { Keep(want, got, path); }

  const std::optional<std::string>& first() const { return first_; }

 private:
  // `parent` is the message that holds the path's last field.
  static std::string Value(const Message& parent, const Fields& path) {
    std::string text;
    google::protobuf::TextFormat::PrintFieldValueToString(parent, path.back().field, -1, &text);
    return text;
  }

  void Keep(const Message& want, const Message& got, const Fields& path) {
    if (first_) return;
    const std::string name = absl::StrJoin(path, ".", [](std::string* out, const auto& step) {
      absl::StrAppend(out, step.field->name());
    });
    first_ = absl::StrCat("spec.", name, ": got ", Value(got, path), ", want ", Value(want, path));
  }

  std::optional<std::string> first_;
};

}  // namespace

absl::Status CheckBatchPixels(const v1::JobSpec& spec) {
  // In floating point: an int32 times the square of another would overflow.
  const double pixels = static_cast<double>(spec.batch_size()) * spec.input_px() * spec.input_px();
  if (pixels <= static_cast<double>(kMaxBatchPixels)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("spec.batch_size: got ", spec.batch_size(), " pictures of ",
                                                 spec.input_px(), " px, want batch_size * input_px * input_px at most ",
                                                 kMaxBatchPixels));
}

StrategyOptions ToStrategyOptions(const v1::JobSpec& spec) {
  StrategyOptions options;
  options.strategy = FromProto(spec.strategy());
  options.epochs = spec.epochs();
  options.batch_size = spec.batch_size();
  options.learning_rate = spec.learning_rate();
  if (options.strategy == Strategy::kFineTune) {
    options.unfreeze_stages = spec.fine_tune().unfreeze_stages();
    options.head_epochs = spec.fine_tune().head_epochs();
  }
  return options;
}

absl::StatusOr<v1::JobSpec> CheckStartJob(const v1::StartJobRequest& request) {
  std::vector<std::string> violations = TextViolations(request);
  const absl::StatusOr<StrategyOptions> options = WithDefaults(ToStrategyOptions(request.spec()));
  if (!options.ok()) violations.emplace_back(WithSpecPaths(options.status()).message());
  if (!violations.empty()) return absl::InvalidArgumentError(absl::StrJoin(violations, "\n"));
  return Effective(request.spec(), *options);
}

absl::Status WithSpecPaths(const absl::Status& status) {
  std::vector<std::string> lines = absl::StrSplit(status.message(), '\n');
  for (std::string& line : lines) line = WithSpecPath(line);
  return absl::Status(status.code(), absl::StrJoin(lines, "\n"));
}

std::optional<std::string> FirstDifference(v1::JobSpec got, const v1::JobSpec& want) {
  if (got.dataset_version().empty()) got.set_dataset_version(want.dataset_version());
  FirstDifferenceReporter reporter;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.set_message_field_comparison(google::protobuf::util::MessageDifferencer::EQUIVALENT);
  differencer.ReportDifferencesTo(&reporter);
  differencer.Compare(want, got);
  return reporter.first();
}

}  // namespace graft
