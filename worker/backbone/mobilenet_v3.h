#pragma once

#include "worker/backbone/architecture.h"

namespace graft {

// torchvision.models.mobilenet_v3_small
Architecture MobileNetV3Small();

}  // namespace graft
