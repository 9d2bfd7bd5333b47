#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/store/records.h"

namespace graft {

// Where a picture belongs; `reason` is not empty when it belongs nowhere.
struct Placement {
  std::string label;
  Split split = Split::kUnspecified;
  std::string reason;
};

// Derives labels and splits from folders, one placement for each path. All paths are needed at once, because which
// folder is the label shows only in all of them:
// - one folder that holds everything ("trashnet/") is ignored, unless it is the only folder there is to be a label;
// - SPLIT/CLASS/... if any picture lies so, then for all; otherwise CLASS/....
// Folders below the class do not matter.
std::vector<Placement> PlaceByFolders(const std::vector<std::string>& paths);

// "train", "val", "valid", "validation" or "test", in any case; kUnspecified for anything else.
Split ParseSplit(absl::string_view name);
absl::string_view SplitName(Split split);

}  // namespace graft
