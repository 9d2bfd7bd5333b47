#include "server/ingest/validation_split.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/store/blob_store.h"

namespace graft {

void SplitOffValidation(const SplitOptions& options, std::vector<DatasetItem>* items) {
  using Ranked = std::pair<std::string, DatasetItem*>;  // by a hash: a shuffle that the seed decides
  std::map<int, std::vector<Ranked>> by_label;
  for (DatasetItem& item : *items) {
    if (item.split == Split::kTest) continue;
    by_label[item.label].emplace_back(Digest(absl::StrCat(options.seed, "\n", item.image_digest)), &item);
  }
  for (auto& [label, ranked] : by_label) {
    std::sort(ranked.begin(), ranked.end());
    const auto n = static_cast<double>(ranked.size());
    const double wanted = n < 2 ? 0 : std::clamp(std::round(n * options.validation_fraction), 1.0, n - 1);
    for (size_t i = 0; i < ranked.size(); ++i)
      ranked[i].second->split = i < static_cast<size_t>(wanted) ? Split::kValidation : Split::kTrain;
  }
}

}  // namespace graft
