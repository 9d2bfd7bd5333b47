#include "server/store/model_store.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/store/model_rows.h"
#include "server/store/page_token.h"
#include "server/store/sql.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr char kDefaultAlias[] = "default";
constexpr size_t kMaxNameLength = 64;
constexpr size_t kMaxResolved = 1000;

bool IsName(absl::string_view name) {
  const auto first = [](char c) { return absl::ascii_isdigit(c) || absl::ascii_islower(c); };
  const auto later = [&](char c) { return first(c) || c == '.' || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= kMaxNameLength && first(name[0]) &&
         std::all_of(name.begin(), name.end(), later);
}

// A positive decimal in its one spelling (no sign, no leading zero); 0 for anything else.
int64_t ParseVersion(absl::string_view text) {
  int64_t version = 0;
  const bool digits = !text.empty() && text[0] != '0' && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  return digits && absl::SimpleAtoi(text, &version) ? version : 0;
}

struct Reference {
  std::string name;
  std::string alias;    // empty: `version` says which
  int64_t version = 0;
};

absl::StatusOr<Reference> ParseReference(const std::string& text) {
  Reference parsed;
  const size_t mark = text.find_first_of("@/");
  const std::string rest = mark == std::string::npos ? "" : text.substr(mark + 1);
  parsed.name = text.substr(0, mark);
  if (mark == std::string::npos) {
    parsed.alias = kDefaultAlias;
  } else if (text[mark] == '@') {
    parsed.alias = rest;
  } else {
    parsed.version = ParseVersion(rest);
  }
  if (!IsName(parsed.name) || (parsed.version == 0 && !IsName(parsed.alias))) {
    return absl::InvalidArgumentError(
        absl::StrCat("model: got \"", absl::CEscape(text), "\", want name, name@alias or name/version"));
  }
  return parsed;
}

absl::Status NoSuchModel(const std::string& name) {
  return absl::NotFoundError(absl::StrCat("model: got \"", absl::CEscape(name), "\", want an existing one"));
}

absl::Status NoSuchVersion(const std::string& name, int64_t version) {
  return absl::NotFoundError(
      absl::StrCat("version: got ", version, ", want one that model \"", absl::CEscape(name), "\" has"));
}

struct AliasRow {
  std::string alias;
  int64_t version = 0;
  auto Columns() { return std::tie(alias, version); }
};

absl::StatusOr<ModelRecord> ReadModel(soci::session& sql, const std::string& name) {
  ModelRecord model;
  model.name = name;
  ASSIGN_OR_RETURN(model.versions, SelectModelVersions(sql, name));
  for (const AliasRow& row :
       Select<AliasRow>(sql, "SELECT alias, version FROM model_aliases WHERE model = :model", name)) {
    model.aliases[row.alias] = row.version;
  }
  return model;
}

absl::StatusOr<ModelRecord> ReadExistingModel(soci::session& sql, const std::string& name) {
  ASSIGN_OR_RETURN(ModelRecord model, ReadModel(sql, name));
  if (model.versions.empty()) return NoSuchModel(name);
  return model;
}

bool HasVersion(const ModelRecord& model, int64_t version) {
  return std::any_of(model.versions.begin(), model.versions.end(),
                     [&](const ModelVersionRecord& candidate) { return candidate.version == version; });
}

// Reads the one version, not all that the model has.
absl::StatusOr<ModelVersionRecord> FindReferenced(soci::session& sql, const Reference& reference) {
  const std::string& name = reference.name;
  if (SelectNumber(sql, "SELECT COUNT(*) FROM (SELECT 1 FROM model_versions WHERE model = :model LIMIT 1) AS one",
                   name) == 0) {
    return NoSuchModel(name);
  }
  int64_t version = reference.version;
  if (!reference.alias.empty()) {
    const auto targets = SelectColumn<int64_t>(
        sql, "SELECT version FROM model_aliases WHERE model = :model AND alias = :alias", name, reference.alias);
    if (targets.empty()) {
      return absl::NotFoundError(
          absl::StrCat("alias: got \"", reference.alias, "\", want one that model \"", name, "\" has"));
    }
    version = targets.front();
  }
  ASSIGN_OR_RETURN(std::optional<ModelVersionRecord> found, SelectModelVersion(sql, name, version));
  if (!found.has_value()) return NoSuchVersion(name, version);
  return *std::move(found);
}

}  // namespace

absl::StatusOr<ModelRecord> ModelStore::Get(const std::string& name) {
  ModelRecord model;
  RETURN_IF_ERROR(db_->Read("get model", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(model, ReadExistingModel(sql, name));
    return absl::OkStatus();
  }));
  return model;
}

absl::StatusOr<Page<ModelRecord>> ModelStore::List(const PageRequest& request) {
  std::string after;
  if (!request.token.empty()) {
    ASSIGN_OR_RETURN(after, DecodePageToken("models", request.token));
  }
  Page<ModelRecord> page;
  RETURN_IF_ERROR(db_->Read("list models", [&](soci::session& sql) -> absl::Status {
    const auto names = SelectColumn<std::string>(
        sql,
        "SELECT name FROM models WHERE name > :after"
        " AND EXISTS (SELECT 1 FROM model_versions WHERE model = name) ORDER BY name LIMIT :limit",
        after, request.size + 1);
    for (const std::string& name : names) {
      if (static_cast<int>(page.items.size()) == request.size) {
        page.next_token = EncodePageToken("models", page.items.back().name);
        break;
      }
      ASSIGN_OR_RETURN(ModelRecord model, ReadModel(sql, name));
      page.items.push_back(std::move(model));
    }
    return absl::OkStatus();
  }));
  return page;
}

absl::StatusOr<ModelVersionRecord> ModelStore::Resolve(const std::string& reference) {
  const int64_t changes = db_->changes();  // before reading: what is written meanwhile makes it stale
  {
    MutexLock lock(&mu_);
    if (resolved_at_ != changes) resolved_.clear();
    resolved_at_ = changes;
    const auto known = resolved_.find(reference);
    if (known != resolved_.end()) return known->second;
  }
  ASSIGN_OR_RETURN(const Reference parsed, ParseReference(reference));
  ModelVersionRecord version;
  RETURN_IF_ERROR(db_->Read("resolve model", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(version, FindReferenced(sql, parsed));
    return absl::OkStatus();
  }));
  MutexLock lock(&mu_);
  if (resolved_at_ == changes && resolved_.size() < kMaxResolved) resolved_.emplace(reference, version);
  return version;
}

absl::StatusOr<ModelRecord> ModelStore::SetAlias(const std::string& name, const std::string& alias, int64_t version) {
  if (!IsName(alias) || absl::ascii_isdigit(alias[0])) {
    return absl::InvalidArgumentError(absl::StrCat("alias: got \"", absl::CEscape(alias),
                                                   "\", want 1 to 64 of [a-z0-9._-], starting with a letter"));
  }
  if (version == 0 && alias == kDefaultAlias) {
    return absl::InvalidArgumentError("version: got 0, want a version: \"default\" cannot be removed");
  }
  ModelRecord model;
  RETURN_IF_ERROR(db_->Write("set alias", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(model, ReadExistingModel(sql, name));
    if (version == 0) {
      Execute(sql, "DELETE FROM model_aliases WHERE model = :model AND alias = :alias", name, alias);
      model.aliases.erase(alias);
      return absl::OkStatus();
    }
    if (!HasVersion(model, version)) return NoSuchVersion(name, version);
    WriteAlias(sql, name, alias, version);
    model.aliases[alias] = version;
    return absl::OkStatus();
  }));
  return model;
}

absl::StatusOr<ModelRecord> ModelStore::DeleteVersion(const std::string& name, int64_t version) {
  ModelRecord model;
  RETURN_IF_ERROR(db_->Write("delete model version", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(model, ReadExistingModel(sql, name));
    if (!HasVersion(model, version)) return NoSuchVersion(name, version);
    const bool last = model.versions.size() == 1;
    for (const auto& [alias, target] : model.aliases) {
      if (target != version || (last && alias == kDefaultAlias)) continue;
      return absl::FailedPreconditionError(
          absl::StrCat("version: alias \"", alias, "\" points at ", name, "/", version, ", want it moved first"));
    }
    Execute(sql, "DELETE FROM model_aliases WHERE model = :model AND version = :version", name, version);
    Execute(sql, "DELETE FROM model_versions WHERE model = :model AND version = :version", name, version);
    ASSIGN_OR_RETURN(model, ReadModel(sql, name));
    return absl::OkStatus();
  }));
  return model;
}

absl::StatusOr<std::set<std::string>> ModelStore::ReferencedCheckpoints() {
  std::set<std::string> digests;
  RETURN_IF_ERROR(db_->Read("list checkpoints", [&](soci::session& sql) {
    for (std::string& digest :
         SelectColumn<std::string>(sql, "SELECT DISTINCT checkpoint_digest FROM model_versions")) {
      digests.insert(std::move(digest));
    }
    return absl::OkStatus();
  }));
  return digests;
}

}  // namespace graft
