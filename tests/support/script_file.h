#pragma once

#include <string>

namespace graft {

// Writes DIRECTORY/NAME.pt and NAME.json, as an operator would install a TorchScript network. Its three features are
// the picture's mean red, green and blue; its pictures have 8 x 8 px.
void InstallScript(const std::string& directory, const std::string& name);

}  // namespace graft
