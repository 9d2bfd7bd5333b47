#include "client/job_description.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/field_text.h"
#include "client/format.h"
#include "client/render.h"

namespace graft {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Writes a message's fields as a YAML mapping.
class MessageWriter {
 public:
  explicit MessageWriter(const v1::JobDescription& description) : description_(description) {}

  std::string Write() {
    WriteMapping(description_.effective(), "");
    return absl::StrCat(out_.c_str(), "\n", LeftDefaults(), Phases());
  }

 private:
  const v1::DefaultValue* FindDefault(const std::string& path) const {
    for (const v1::DefaultValue& value : description_.defaults()) {
      if (value.field() == path) return &value;
    }
    return nullptr;
  }

  void WriteMapping(const Message& message, const std::string& path) {
    out_ << YAML::BeginMap;
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* const field = message.GetDescriptor()->field(i);
      WriteField(message, field, absl::StrCat(path, path.empty() ? "" : ".", field->name()));
    }
    out_ << YAML::EndMap;
  }

  void WriteField(const Message& message, const FieldDescriptor* field, const std::string& path) {
    if (field->is_repeated()) return WriteTexts(message, field, path);
    const bool is_set = message.GetReflection()->HasField(message, field);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (!is_set) return;
      out_ << YAML::Key << field->name() << YAML::Value;
      WriteMapping(message.GetReflection()->GetMessage(message, field), path);
      return;
    }
    // Zero of a field without presence is written when it is a default that was chosen: seed 0.
    const v1::DefaultValue* const value = FindDefault(path);
    if (!is_set && (value == nullptr || field->has_presence())) return;
    out_ << YAML::Key << field->name() << YAML::Value << FieldText(message, field);
    WriteDefault(value, path);
  }

  // An empty list and none are the same: the default of one that is empty is left to the end.
  void WriteTexts(const Message& message, const FieldDescriptor* field, const std::string& path) {
    const google::protobuf::Reflection* const reflection = message.GetReflection();
    const int count = reflection->FieldSize(message, field);
    if (count == 0) return;
    out_ << YAML::Key << field->name() << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (int i = 0; i < count; ++i) out_ << reflection->GetRepeatedString(message, field, i);
    out_ << YAML::EndSeq;
    WriteDefault(FindDefault(path), path);
  }

  // Where the value just written comes from; nothing when it is no default.
  void WriteDefault(const v1::DefaultValue* value, const std::string& path) {
    if (value == nullptr) return;
    out_ << YAML::Comment(absl::StrCat("default: ", Printable(value->source())));
    written_.insert(path);
  }

  std::string LeftDefaults() const {
    std::string text;
    for (const v1::DefaultValue& value : description_.defaults()) {
      if (written_.count(value.field()) > 0) continue;
      absl::StrAppend(&text, "# ", Printable(value.field()), ": ", Printable(value.value()),
                      "  # default: ", Printable(value.source()), "\n");
    }
    return text;
  }

  std::string Phases() const {
    std::string text;
    for (const v1::PhaseStart& phase : description_.phases()) {
      v1::JobEvent event;
      *event.mutable_phase() = phase;
      const std::string lines = FormatEvent(event, false);
      for (const auto line : absl::StrSplit(lines, '\n', absl::SkipEmpty())) absl::StrAppend(&text, "# ", line, "\n");
    }
    return text;
  }

  const v1::JobDescription& description_;
  YAML::Emitter out_;
  std::set<std::string> written_;  // fields whose default stands beside them
};

}  // namespace

std::string FormatJobDescription(const v1::JobDescription& description) { return MessageWriter(description).Write(); }

}  // namespace graft
