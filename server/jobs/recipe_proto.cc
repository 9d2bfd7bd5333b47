#include "server/jobs/recipe_proto.h"

#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "worker/base/status.h"
#include "worker/train/recipe_options.h"

namespace graft {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The API's enumerations begin with UNSPECIFIED, the worker's do not.
static_assert(static_cast<int>(Strategy::kFrozenHead) + 1 == v1::STRATEGY_FROZEN_HEAD);
static_assert(static_cast<int>(Strategy::kGradual) + 1 == v1::STRATEGY_GRADUAL);
static_assert(static_cast<int>(HeadType::kCosine) + 1 == v1::HEAD_TYPE_COSINE);
static_assert(static_cast<int>(OptimizerKind::kLbfgs) + 1 == v1::OPTIMIZER_TYPE_LBFGS);
static_assert(static_cast<int>(ScheduleKind::kOneCycle) + 1 == v1::SCHEDULE_TYPE_ONE_CYCLE);
static_assert(static_cast<int>(StopMetric::kMacroF1) + 1 == v1::STOP_METRIC_MACRO_F1);
static_assert(static_cast<int>(ClassBalance::kSampling) + 1 == v1::CLASS_BALANCE_SAMPLING);
static_assert(static_cast<int>(Precision::kFloat16) + 1 == v1::PRECISION_FLOAT16);

const FieldDescriptor* FieldNamed(const Message& message, absl::string_view name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(std::string(name));
  GRAFT_CHECK(field != nullptr);  // an option that the API lacks: a test goes through all of them
  return field;
}

// The message that holds a path's last field, and that field; null where a message on the way is not set.
const FieldDescriptor* Find(const Message** message, absl::string_view path) {
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    const FieldDescriptor* field = FieldNamed(**message, names[i]);
    if (!(*message)->GetReflection()->HasField(**message, field)) return nullptr;
    *message = &(*message)->GetReflection()->GetMessage(**message, field);
  }
  return FieldNamed(**message, names.back());
}

// An enumeration's number that it has not, or UNSPECIFIED.
bool IsUnknownValue(const Message& m, const FieldDescriptor* f) {
  if (f->cpp_type() != FieldDescriptor::CPPTYPE_ENUM) return false;
  const int number = m.GetReflection()->GetEnumValue(m, f);
  return number == 0 || f->enum_type()->FindValueByNumber(number) == nullptr;
}

void Get(const Message& m, const FieldDescriptor* f, int* out) { *out = m.GetReflection()->GetInt32(m, f); }
void Get(const Message& m, const FieldDescriptor* f, double* out) { *out = m.GetReflection()->GetDouble(m, f); }
void Get(const Message& m, const FieldDescriptor* f, bool* out) { *out = m.GetReflection()->GetBool(m, f); }
void Get(const Message& m, const FieldDescriptor* f, std::string* out) { *out = m.GetReflection()->GetString(m, f); }
template <typename Enum, typename = std::enable_if_t<std::is_enum_v<Enum>>>
void Get(const Message& m, const FieldDescriptor* f, Enum* out) {
  *out = static_cast<Enum>(m.GetReflection()->GetEnumValue(m, f) - 1);
}

void Set(Message* m, const FieldDescriptor* f, int value) { m->GetReflection()->SetInt32(m, f, value); }
void Set(Message* m, const FieldDescriptor* f, double value) { m->GetReflection()->SetDouble(m, f, value); }
void Set(Message* m, const FieldDescriptor* f, bool value) { m->GetReflection()->SetBool(m, f, value); }
void Set(Message* m, const FieldDescriptor* f, const std::string& value) { m->GetReflection()->SetString(m, f, value); }
template <typename Enum, typename = std::enable_if_t<std::is_enum_v<Enum>>>
void Set(Message* m, const FieldDescriptor* f, Enum value) {
  m->GetReflection()->SetEnumValue(m, f, static_cast<int>(value) + 1);
}

}  // namespace

Recipe ToRecipe(const v1::JobSpec& spec) {
  Recipe recipe;
  const bool is_recipe = v1::Strategy_IsValid(spec.strategy()) && spec.strategy() != v1::STRATEGY_UNSPECIFIED &&
                         spec.strategy() != v1::STRATEGY_AUTO;
  if (is_recipe) {
    recipe.strategy = static_cast<Strategy>(spec.strategy() - 1);
  }
  ForEachOption(recipe, [&](const char* path, auto& field, const auto&) {
    const Message* message = &spec;
    const FieldDescriptor* descriptor = Find(&message, path);
    if (descriptor == nullptr || !message->GetReflection()->HasField(*message, descriptor)) return;
    if (IsUnknownValue(*message, descriptor)) return;
    Get(*message, descriptor, &field);
    recipe.chosen.insert(path);
  });
  return recipe;
}

void SetOptions(Recipe recipe, v1::JobSpec* spec) {
  ForEachOption(recipe, [&](const char* path, auto& field, const auto& otherwise) {
    const bool implied = otherwise.source == nullptr && recipe.chosen.count(path) == 0;
    if (otherwise.only != nullptr || implied) return;
    Message* message = spec;
    const std::vector<std::string> names = absl::StrSplit(path, '.');
    for (size_t i = 0; i + 1 < names.size(); ++i) {
      message = message->GetReflection()->MutableMessage(message, FieldNamed(*message, names[i]));
    }
    Set(message, FieldNamed(*message, names.back()), field);
  });
}

}  // namespace graft
