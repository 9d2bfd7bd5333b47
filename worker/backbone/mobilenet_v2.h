#pragma once

#include "worker/backbone/architecture.h"

namespace graft {

// torchvision.models.mobilenet_v2
Architecture MobileNetV2();

}  // namespace graft
