#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "graft/v1/job.pb.h"
#include "worker/base/status.h"

// The fields of JobSpec by their paths: "optimizer.momentum".

namespace graft {

// Null when there is none.
inline const google::protobuf::FieldDescriptor* SpecField(const std::string& path) {
  const google::protobuf::Descriptor* message = v1::JobSpec::descriptor();
  const google::protobuf::FieldDescriptor* field = nullptr;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(path, '.'))) {
    if (message == nullptr) return nullptr;
    field = message->FindFieldByName(name);
    if (field == nullptr) return nullptr;
    message = field->message_type();
  }
  return field;
}

inline void AddSpecPaths(const google::protobuf::Descriptor* message, const std::string& prefix,
                         std::set<std::string>* paths) {
  for (int i = 0; i < message->field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = message->field(i);
    const std::string path = prefix + field->name();
    if (field->message_type() != nullptr) {
      AddSpecPaths(field->message_type(), path + ".", paths);
    } else {
      paths->insert(path);
    }
  }
}

// All fields that are no messages.
inline std::set<std::string> SpecPaths() {
  std::set<std::string> paths;
  AddSpecPaths(v1::JobSpec::descriptor(), "", &paths);
  return paths;
}

inline std::set<std::string> SpecPaths(google::protobuf::FieldDescriptor::CppType type) {
  std::set<std::string> paths;
  for (const std::string& path : SpecPaths()) {
    if (SpecField(path)->cpp_type() == type) paths.insert(path);
  }
  return paths;
}

// The message that holds the path's last field; what is missing on the way is made.
inline google::protobuf::Message* SpecParent(const std::string& path, v1::JobSpec* spec) {
  google::protobuf::Message* message = spec;
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    const auto* field = message->GetDescriptor()->FindFieldByName(names[i]);
    GRAFT_CHECK(field != nullptr);
    message = message->GetReflection()->MutableMessage(message, field);
  }
  return message;
}

inline void SetSpecEnum(const std::string& path, int number, v1::JobSpec* spec) {
  google::protobuf::Message* parent = SpecParent(path, spec);
  parent->GetReflection()->SetEnumValue(parent, SpecField(path), number);
}

inline int SpecEnum(const std::string& path, v1::JobSpec spec) {
  const google::protobuf::Message* parent = SpecParent(path, &spec);
  return parent->GetReflection()->GetEnumValue(*parent, SpecField(path));
}

inline void SetSpecDouble(const std::string& path, double value, v1::JobSpec* spec) {
  google::protobuf::Message* parent = SpecParent(path, spec);
  parent->GetReflection()->SetDouble(parent, SpecField(path), value);
}

// Whether the field has a value, also the zero of a field without presence.
inline bool SpecHas(const std::string& path, v1::JobSpec spec) {
  const google::protobuf::FieldDescriptor* field = SpecField(path);
  const google::protobuf::Message* parent = SpecParent(path, &spec);
  return !field->has_presence() || parent->GetReflection()->HasField(*parent, field);
}

}  // namespace graft
