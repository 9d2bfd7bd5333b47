#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// Fields of a message as people write them, by reflection: singular int32, uint64, double, bool, string and enum, and
// repeated string. An enum's value is its name without the type's, in small letters: OPTIMIZER_TYPE_ADAMW is "adamw",
// STRATEGY_FINE_TUNE "fine-tune".
//
// Errors: InvalidArgument with "got X, want Y"; the caller puts the field's path before it.

// The field of that name in the .proto.   Error: there is none; names those that there are
absl::StatusOr<const google::protobuf::FieldDescriptor*> FindField(const google::protobuf::Descriptor* message,
                                                                   absl::string_view name);

// Sets a field that is no message. Enum values may have capitals, '_' for '-', and the type's name before them. The
// texts of a repeated field are parted by commas, and spaces around them are dropped; "" is none.
//   Error: not of the field's type, or out of its range; an empty text beside a comma; more than 1000 texts
absl::Status SetFieldText(absl::string_view text, const google::protobuf::FieldDescriptor* field,
                          google::protobuf::Message* message);

// Sets a repeated string field to `texts`, whatever it had before.   Error: more than 1000
absl::Status SetFieldTexts(const std::vector<std::string>& texts, const google::protobuf::FieldDescriptor* field,
                           google::protobuf::Message* message);

// What SetFieldText takes back, to the last bit. Not of a repeated field, whose texts may hold commas.
std::string FieldText(const google::protobuf::Message& message, const google::protobuf::FieldDescriptor* field);

// What a file has to give: "a number", "one of sgd, adamw", "a list of texts, as in [a, b]".
std::string WantedText(const google::protobuf::FieldDescriptor* field);

// The values of an enum, without the unspecified one.
std::vector<std::string> EnumWords(const google::protobuf::EnumDescriptor* type);

// Text in quotes for a message: of one line and at most 60 bytes.
std::string QuotedText(absl::string_view text);

}  // namespace graft
