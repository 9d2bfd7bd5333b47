#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/store/records.h"

// What follows from the pictures of a dataset version once each has its split.

namespace graft {

// Fills in the pictures' counts and bytes; `version` has its classes' names and multi_label.
void CountItems(const std::vector<DatasetItem>& items, DatasetVersion* version);

// Whether a training could use it.
//   InvalidArgument  fewer than two classes (multi-label: one), a class without training pictures (named), or no
//                    validation picture
absl::Status CheckCounts(const DatasetVersion& version);

// "sha256:..." of a text that the same pictures, labels, splits and file names give in whatever order they came. It
// never changes: versions of earlier programs keep their names.
std::string ContentDigest(const std::vector<DatasetItem>& items, const DatasetVersion& version);

}  // namespace graft
