#pragma once

#include <string>
#include <vector>

namespace graft {

// Names of the 1000 classes of ImageNet-1k by class index.
const std::vector<std::string>& ImageNetClasses();

}  // namespace graft
