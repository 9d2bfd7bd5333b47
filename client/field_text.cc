#include "client/field_text.h"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kQuotedBytes = 60;
constexpr size_t kMaxTexts = 1000;  // far beyond the backbones of any server

// "OPTIMIZER_TYPE_" of OptimizerType, as protobuf's style guide has it.
std::string EnumPrefix(const EnumDescriptor* type) {
  std::string prefix;
  for (const char c : type->name()) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !prefix.empty()) prefix += '_';
    prefix += absl::ascii_toupper(static_cast<unsigned char>(c));
  }
  return prefix + "_";
}

std::string EnumWord(const EnumValueDescriptor* value) {
  const std::string prefix = EnumPrefix(value->type());
  const std::string word = absl::AsciiStrToLower(absl::StripPrefix(value->name(), prefix));
  return absl::StrReplaceAll(word, {{"_", "-"}});
}

const EnumValueDescriptor* FindEnumValue(const EnumDescriptor* type, absl::string_view text) {
  const std::string name = absl::StrReplaceAll(absl::AsciiStrToUpper(text), {{"-", "_"}});
  const EnumValueDescriptor* const whole = type->FindValueByName(name);
  return whole != nullptr ? whole : type->FindValueByName(EnumPrefix(type) + name);
}

// The shortest decimal that reads back as the same double.
std::string DoubleText(double value) {
  char digits[32];  // the longest is "-2.2250738585072014e-308"
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), value);
  return std::string(digits, end.ptr);
}

absl::StatusOr<std::vector<std::string>> SplitTexts(absl::string_view text) {
  if (text.empty()) return std::vector<std::string>();
  std::vector<std::string> texts = absl::StrSplit(text, ',');
  for (std::string& part : texts) {
    absl::StripAsciiWhitespace(&part);
    if (part.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("got ", QuotedText(text), ", want texts parted by commas, as in a,b"));
    }
  }
  return texts;
}

template <typename Integer>
std::string IntegerRange() {
  return absl::StrCat("a whole number, ", std::numeric_limits<Integer>::min(), " to ",
                      std::numeric_limits<Integer>::max());
}

}  // namespace

absl::StatusOr<const FieldDescriptor*> FindField(const google::protobuf::Descriptor* message, absl::string_view name) {
  if (const FieldDescriptor* const field = message->FindFieldByName(std::string(name))) return field;
  std::vector<std::string> names;
  for (int i = 0; i < message->field_count(); ++i) names.push_back(message->field(i)->name());
  return absl::InvalidArgumentError(
      absl::StrCat("got an unknown field, want one of ", absl::StrJoin(names, ", ")));
}

absl::Status SetFieldText(absl::string_view text, const FieldDescriptor* field, Message* message) {
  if (field->is_repeated()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> texts, SplitTexts(text));
    return SetFieldTexts(texts, field, message);
  }
  const google::protobuf::Reflection* const reflection = message->GetReflection();
  const absl::Status wrong =
      absl::InvalidArgumentError(absl::StrCat("got ", QuotedText(text), ", want ", WantedText(field)));
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      int32_t value = 0;
      if (!absl::SimpleAtoi(text, &value)) return wrong;
      reflection->SetInt32(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t value = 0;
      if (!absl::SimpleAtoi(text, &value)) return wrong;
      reflection->SetUInt64(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      if (!absl::SimpleAtod(text, &value) || !std::isfinite(value)) return wrong;
      reflection->SetDouble(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      if (text != "true" && text != "false") return wrong;
      reflection->SetBool(message, field, text == "true");
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* const value = FindEnumValue(field->enum_type(), text);
      if (value == nullptr) return wrong;
      reflection->SetEnum(message, field, value);
      return absl::OkStatus();
    }
    default:
      GRAFT_CHECK(field->cpp_type() == FieldDescriptor::CPPTYPE_STRING);
      reflection->SetString(message, field, std::string(text));
      return absl::OkStatus();
  }
}

absl::Status SetFieldTexts(const std::vector<std::string>& texts, const FieldDescriptor* field, Message* message) {
  GRAFT_CHECK(field->is_repeated() && field->cpp_type() == FieldDescriptor::CPPTYPE_STRING);
  if (texts.size() > kMaxTexts) {
    return absl::InvalidArgumentError(absl::StrCat("got ", texts.size(), " texts, want at most ", kMaxTexts));
  }
  const google::protobuf::Reflection* const reflection = message->GetReflection();
  reflection->ClearField(message, field);
  for (const std::string& text : texts) reflection->AddString(message, field, text);
  return absl::OkStatus();
}

std::string FieldText(const Message& message, const FieldDescriptor* field) {
  GRAFT_CHECK(!field->is_repeated());
  const google::protobuf::Reflection* const reflection = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: return absl::StrCat(reflection->GetInt32(message, field));
    case FieldDescriptor::CPPTYPE_UINT64: return absl::StrCat(reflection->GetUInt64(message, field));
    case FieldDescriptor::CPPTYPE_DOUBLE: return DoubleText(reflection->GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_BOOL: return reflection->GetBool(message, field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM: return EnumWord(reflection->GetEnum(message, field));
    default: GRAFT_CHECK(field->cpp_type() == FieldDescriptor::CPPTYPE_STRING);
  }
  return reflection->GetString(message, field);
}

std::string WantedText(const FieldDescriptor* field) {
  if (field->is_repeated()) return "a list of texts, as in [a, b]";
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: return IntegerRange<int32_t>();
    case FieldDescriptor::CPPTYPE_UINT64: return IntegerRange<uint64_t>();
    case FieldDescriptor::CPPTYPE_DOUBLE: return "a number";
    case FieldDescriptor::CPPTYPE_BOOL: return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return absl::StrCat("one of ", absl::StrJoin(EnumWords(field->enum_type()), ", "));
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const FieldDescriptor* const first = field->message_type()->field(0);
      return absl::StrCat("a mapping, as in {", first->name(), ": ...}");
    }
    default: return "a text";
  }
}

std::vector<std::string> EnumWords(const EnumDescriptor* type) {
  std::vector<std::string> words;
  for (int i = 0; i < type->value_count(); ++i) {
    if (type->value(i)->number() != 0) words.push_back(EnumWord(type->value(i)));
  }
  return words;
}

std::string QuotedText(absl::string_view text) {
  const bool whole = text.size() <= kQuotedBytes;
  return absl::StrCat("\"", Printable(text.substr(0, kQuotedBytes)), whole ? "\"" : "...\"");
}

}  // namespace graft
