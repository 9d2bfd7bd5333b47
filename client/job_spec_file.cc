#include "client/job_spec_file.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/field_text.h"
#include "client/format.h"
#include "client/yaml_tree.h"
#include "worker/base/status.h"

namespace graft {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kMaxFileBytes = 1 << 20;  // a spec with every field has 3 KiB
constexpr size_t kMaxProblems = 20;        // a screen of them; another kind of file has one in every line

std::string KindName(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNothing: return "nothing";
    case YamlNode::Kind::kScalar: return node.quoted ? absl::StrCat("the text ", QuotedText(node.text))
                                                     : QuotedText(node.text);
    case YamlNode::Kind::kMapping: return "a mapping";
    case YamlNode::Kind::kSequence: return "a list";
  }
  return "";
}

// Whether a quoted value is of the field's type.
bool TakesQuoted(const FieldDescriptor* field) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_BOOL: return false;
    default: return true;
  }
}

// Fills a message from a tree, noting every problem.
class MessageReader {
 public:
  explicit MessageReader(const std::string& name) : name_(name) {}

  // `path` of the message within the document; empty for the document itself.
  void ReadMapping(const YamlNode& mapping, const std::string& path, Message* message) {
    std::map<std::string, int> lines;  // of the keys
    for (size_t i = 0; i + 1 < mapping.children.size(); i += 2) {
      const YamlNode& key = mapping.children[i];
      const std::string field_path = absl::StrCat(path, path.empty() ? "" : ".", Printable(key.text.substr(0, 60)));
      if (key.kind != YamlNode::Kind::kScalar) {
        Problem(key, path, absl::StrCat("got ", KindName(key), " as the name of a field, want a text"));
      } else if (const auto [first, is_new] = lines.emplace(key.text, key.line); !is_new) {
        Problem(key, field_path, absl::StrCat("got the field twice, first in line ", first->second, ", want it once"));
      } else {
        ReadField(key, mapping.children[i + 1], field_path, message);
      }
    }
  }

  void Problem(const YamlNode& node, const std::string& path, absl::string_view problem) {
    if (++problem_count_ > kMaxProblems) return;
    problems_.push_back(absl::StrCat(name_, ":", node.line, ": ", path, path.empty() ? "" : ": ", problem));
  }

  absl::Status status() const {
    if (problem_count_ == 0) return absl::OkStatus();
    std::string message = absl::StrJoin(problems_, "\n");
    const size_t more = problem_count_ - problems_.size();
    if (more > 0) absl::StrAppend(&message, "\n", name_, ": and ", more, " more");
    return absl::InvalidArgumentError(message);
  }

 private:
  void ReadField(const YamlNode& key, const YamlNode& value, const std::string& path, Message* message) {
    const auto field = FindField(message->GetDescriptor(), key.text);
    if (!field.ok()) {
      Problem(key, path, field.status().message());
    } else if ((*field)->is_repeated()) {
      ReadTexts(key, value, path, *field, message);
    } else if ((*field)->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (value.kind != YamlNode::Kind::kMapping) return Wrong(key, value, path, *field);
      ReadMapping(value, path, message->GetReflection()->MutableMessage(message, *field));
    } else if (value.kind != YamlNode::Kind::kScalar || (value.quoted && !TakesQuoted(*field))) {
      Wrong(key, value, path, *field);
    } else if (const absl::Status status = SetFieldText(value.text, *field, message); !status.ok()) {
      Problem(key, path, status.message());
    }
  }

  void ReadTexts(const YamlNode& key, const YamlNode& value, const std::string& path, const FieldDescriptor* field,
                 Message* message) {
    if (value.kind != YamlNode::Kind::kSequence) return Wrong(key, value, path, field);
    std::vector<std::string> texts;
    for (const YamlNode& item : value.children) {
      if (item.kind != YamlNode::Kind::kScalar) {
        const std::string item_path = absl::StrCat(path, "[", texts.size(), "]");
        Problem(item, item_path, absl::StrCat("got ", KindName(item), ", want a text"));
      }
      texts.push_back(item.text);
    }
    if (const absl::Status status = SetFieldTexts(texts, field, message); !status.ok()) {
      Problem(key, path, status.message());
    }
  }

  void Wrong(const YamlNode& key, const YamlNode& value, const std::string& path, const FieldDescriptor* field) {
    Problem(key, path, absl::StrCat("got ", KindName(value), ", want ", WantedText(field)));
  }

  const std::string name_;
  size_t problem_count_ = 0;
  std::vector<std::string> problems_;  // the first of them
};

absl::Status SetFieldAt(const std::vector<std::string>& names, absl::string_view text, Message* message) {
  for (size_t i = 0;; ++i) {
    ASSIGN_OR_RETURN(const FieldDescriptor* const field, FindField(message->GetDescriptor(), names[i]));
    const bool last = i + 1 == names.size();
    const bool has_fields = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (last && !has_fields) return SetFieldText(text, field, message);
    if (last) {
      return absl::InvalidArgumentError(absl::StrCat("got ", QuotedText(text), ", want one of its fields set, as in ",
                                                     field->name(), ".", field->message_type()->field(0)->name()));
    }
    if (!has_fields) return absl::InvalidArgumentError(absl::StrCat("got a field of ", field->name(), ", want none"));
    message = message->GetReflection()->MutableMessage(message, field);
  }
}

}  // namespace

absl::StatusOr<v1::JobSpec> ParseJobSpec(const std::string& text, const std::string& name) {
  ASSIGN_OR_RETURN(const YamlNode root, ParseYaml(text, name));
  MessageReader reader(name);
  v1::JobSpec spec;
  if (root.kind == YamlNode::Kind::kMapping) {
    reader.ReadMapping(root, "", &spec);
  } else {
    reader.Problem(root, "", absl::StrCat("got ", KindName(root), ", want a mapping of fields"));
  }
  RETURN_IF_ERROR(reader.status());
  return spec;
}

absl::StatusOr<v1::JobSpec> ReadJobSpec(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxFileBytes + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  // The end of the file sets failbit as well; a folder opens and then fails to be read.
  if (in.bad() || !(in || in.eof())) return absl::ErrnoToStatus(errno != 0 ? errno : EIO, path);
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": got a larger file, want at most ", kMaxFileBytes, " bytes"));
  }
  return ParseJobSpec(text, path);
}

absl::Status SetField(v1::JobSpec* spec, absl::string_view path, absl::string_view text) {
  v1::JobSpec changed = *spec;
  const absl::Status status = SetFieldAt(absl::StrSplit(path, '.'), text, &changed);
  if (!status.ok()) return absl::InvalidArgumentError(absl::StrCat(Printable(path), ": ", status.message()));
  *spec = std::move(changed);
  return absl::OkStatus();
}

}  // namespace graft
