#include "server/jobs/job_spec.h"

#include <set>
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
#include "server/jobs/recipe_proto.h"
#include "server/models/backbone_directory.h"
#include "worker/backbone/architecture.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr size_t kMaxRequestIdBytes = 128;
constexpr int kMaxAutoBackbones = 64;
constexpr double kDefaultAutoSeconds = 600, kMinAutoSeconds = 10, kMaxAutoSeconds = 604'800;
// A batch's activations grow with it: no request may take all memory.
constexpr int64_t kMaxBatchPixels = int64_t{1024} * 224 * 224;

bool IsStrategy(v1::Strategy strategy) {
  return v1::Strategy_IsValid(strategy) && strategy != v1::STRATEGY_UNSPECIFIED;
}

// Numbers that no enumeration has, anywhere in a message. `strategy` has a message of its own.
void AddUnknownValues(const std::string& path, const google::protobuf::Message& message,
                      std::vector<std::string>* violations) {
  using google::protobuf::FieldDescriptor;
  std::vector<const FieldDescriptor*> fields;
  const google::protobuf::Reflection* reflection = message.GetReflection();
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) continue;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      AddUnknownValues(absl::StrCat(path, field->name(), "."), reflection->GetMessage(message, field), violations);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM && field->name() != "strategy") {
      const int number = reflection->GetEnumValue(message, field);
      if (field->enum_type()->FindValueByNumber(number) != nullptr) continue;
      violations->push_back(
          absl::StrCat(path, field->name(), ": got ", number, ", want a value of ", field->enum_type()->name()));
    }
  }
}

void AddAutoViolations(const v1::JobSpec& spec, std::vector<std::string>* violations) {
  const double budget = spec.auto_().budget_seconds();
  if (spec.has_auto_() && spec.strategy() != v1::STRATEGY_AUTO) {
    violations->push_back("spec.auto: got options, want them only with STRATEGY_AUTO");
  } else if (budget != 0 && !(budget >= kMinAutoSeconds && budget <= kMaxAutoSeconds)) {
    violations->push_back(absl::StrCat("spec.auto.budget_seconds: got ", budget, ", want ", kMinAutoSeconds, " to ",
                                       kMaxAutoSeconds));
  }
  if (spec.auto_().backbones_size() > kMaxAutoBackbones) {
    violations->push_back(absl::StrCat("spec.auto.backbones: got ", spec.auto_().backbones_size(), ", want at most ",
                                       kMaxAutoBackbones));
  } else {
    std::set<std::string> seen;
    for (const std::string& name : spec.auto_().backbones()) {
      const absl::Status status = CheckName("spec.auto.backbones", name);
      if (!status.ok()) violations->emplace_back(status.message());
      if (!seen.insert(name).second) violations->push_back(absl::StrCat("spec.auto.backbones: got ", name, " twice"));
    }
  }
  if (!spec.backbone().empty() && spec.auto_().backbones_size() > 0) {
    violations->push_back("spec.auto.backbones: want either these or spec.backbone");
  }
}

// AUTO tries frozen heads and fine-tuning: what is chosen must do for one of them.
absl::Status CheckAutoOptions(Recipe recipe) {
  recipe.strategy = Strategy::kFrozenHead;
  if (WithDefaults(recipe).ok()) return absl::OkStatus();
  recipe.strategy = Strategy::kFineTune;
  return WithDefaults(recipe).status();
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
  const bool chooses = spec.strategy() == v1::STRATEGY_AUTO;
  if (spec.backbone().empty() && !chooses) violations.push_back("spec.backbone: got \"\", want a name from ListBackbones");
  if (!IsStrategy(spec.strategy())) {
    violations.push_back(absl::StrCat("spec.strategy: got ", static_cast<int>(spec.strategy()),
                                      ", want STRATEGY_FROZEN_HEAD, STRATEGY_FINE_TUNE, STRATEGY_GRADUAL, "
                                      "STRATEGY_SCRATCH or STRATEGY_AUTO"));
  }
  if (!spec.model().empty()) add(CheckModelName(spec.model()));
  const bool tunes =
      spec.strategy() == v1::STRATEGY_FINE_TUNE || spec.strategy() == v1::STRATEGY_GRADUAL || chooses;
  if (spec.has_fine_tune() && IsStrategy(spec.strategy()) && !tunes) {
    violations.push_back("spec.fine_tune: got options, want them only with STRATEGY_FINE_TUNE and STRATEGY_GRADUAL");
  }
  AddUnknownValues("spec.", spec, &violations);
  AddAutoViolations(spec, &violations);
  if (spec.input_px() < 0 || spec.input_px() > kMaxInputPx) {
    violations.push_back(absl::StrCat("spec.input_px: got ", spec.input_px(), ", want 0 to ", kMaxInputPx));
  }
  add(CheckBatchPixels(spec));
  return violations;
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

absl::StatusOr<v1::JobSpec> CheckStartJob(const v1::StartJobRequest& request, std::vector<DefaultValue>* defaults) {
  std::vector<std::string> violations = TextViolations(request);
  const bool chooses = request.spec().strategy() == v1::STRATEGY_AUTO;
  Recipe recipe = ToRecipe(request.spec());
  absl::Status checked;
  if (chooses) {
    checked = CheckAutoOptions(recipe);
  } else {
    absl::StatusOr<Recipe> full = WithDefaults(recipe, defaults);
    checked = full.status();
    if (full.ok()) recipe = *std::move(full);
  }
  if (!checked.ok()) violations.emplace_back(WithSpecPaths(checked).message());
  if (!violations.empty()) return absl::InvalidArgumentError(absl::StrJoin(violations, "\n"));
  v1::JobSpec effective = request.spec();
  if (!chooses) {
    SetOptions(recipe, &effective);
  } else if (effective.auto_().budget_seconds() == 0) {
    effective.mutable_auto_()->set_budget_seconds(kDefaultAutoSeconds);
    if (defaults != nullptr) {
      defaults->push_back({"auto.budget_seconds", absl::StrCat(kDefaultAutoSeconds), "ten minutes: a coffee"});
    }
  }
  return effective;
}

absl::Status WithSpecPaths(const absl::Status& status) {
  std::vector<std::string> lines = absl::StrSplit(status.message(), '\n');
  for (std::string& line : lines) line.insert(0, "spec.");
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
