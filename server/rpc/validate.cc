#include "server/rpc/validate.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/ingest/names.h"

namespace graft {
namespace {

constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;

absl::Status Violation(absl::string_view field, absl::string_view got, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": got ", got, ", want ", want));
}

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Violation(field, absl::StrCat(value), absl::StrCat(low, " to ", high));
}

}  // namespace

void Violations::Add(const absl::Status& status) {
  if (!status.ok()) absl::StrAppend(&lines_, lines_.empty() ? "" : "\n", status.message());
}

absl::Status Violations::status() const {
  return lines_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(lines_);
}

absl::StatusOr<PageRequest> ParsePage(int32_t page_size, const std::string& page_token) {
  if (page_size < 0 || page_size > kMaxPageSize)
    return Violation("page_size", absl::StrCat(page_size), absl::StrCat("1 to ", kMaxPageSize));
  PageRequest page;
  page.size = page_size == 0 ? kDefaultPageSize : page_size;
  page.token = page_token;
  return page;
}

absl::Status Validate(const v1::ClassifyRequest& request, const Limits& limits) {
  Violations violations;
  if (request.model().empty())
    violations.Add(Violation("model", "nothing", "\"name\", \"name@alias\", \"name/version\" or \"backbone/name\""));
  violations.Add(CheckRange("images", request.images_size(), 1, limits.max_images_per_request));
  for (int i = 0; i < request.images_size() && i < limits.max_images_per_request; ++i) {
    const auto bytes = static_cast<int64_t>(request.images(i).size());
    if (bytes < 1 || bytes > limits.ingest.image.max_bytes)
      violations.Add(Violation(absl::StrCat("images[", i, "]"), absl::StrCat(bytes, " bytes"),
                               absl::StrCat("1 to ", limits.ingest.image.max_bytes)));
  }
  if (request.top_k() < 0) violations.Add(Violation("top_k", absl::StrCat(request.top_k()), ">= 0"));
  return violations.status();
}

absl::Status Validate(const v1::SetAliasRequest& request) {
  Violations violations;
  violations.Add(CheckName("name", request.name()));
  const absl::Status alias = CheckName("alias", request.alias());
  violations.Add(alias);
  // A digit would make "flowers@3" look like a version.
  if (alias.ok() && !absl::ascii_islower(request.alias()[0]))
    violations.Add(Violation("alias", absl::StrCat("\"", request.alias(), "\""), "a letter first"));
  if (request.version() < 0)
    violations.Add(Violation("version", absl::StrCat(request.version()), ">= 1, or 0 to remove the alias"));
  return violations.status();
}

absl::Status Validate(const v1::DeleteModelVersionRequest& request) {
  Violations violations;
  violations.Add(CheckName("name", request.name()));
  if (request.version() < 1) violations.Add(Violation("version", absl::StrCat(request.version()), ">= 1"));
  return violations.status();
}

absl::Status ValidateChunk(int64_t bytes, const Limits& limits) {
  if (bytes >= 1 && bytes <= limits.max_chunk_bytes) return absl::OkStatus();
  return Violation("chunk", absl::StrCat(bytes, " bytes"), absl::StrCat("1 to ", limits.max_chunk_bytes));
}

}  // namespace graft
