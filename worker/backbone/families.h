#pragma once

#include <vector>

#include "worker/backbone/architecture.h"

namespace graft {

// The networks of the registry, one function and one file for each family.
std::vector<Architecture> SmallConvnet();       // small_convnet.cc
std::vector<Architecture> Vgg();                // vgg.cc
std::vector<Architecture> ResNet();             // resnet.cc
std::vector<Architecture> InceptionV3();        // inception_v3.cc
std::vector<Architecture> Xception();           // xception.cc
std::vector<Architecture> MobileNetV1();        // mobilenet_v1.cc
std::vector<Architecture> MobileNetV2();        // mobilenet_v2.cc
std::vector<Architecture> MobileNetV3();        // mobilenet_v3.cc
std::vector<Architecture> DenseNet();           // densenet.cc
std::vector<Architecture> EfficientNet();       // efficientnet.cc
std::vector<Architecture> ConvNeXt();           // convnext.cc
std::vector<Architecture> VisionTransformer();  // vision_transformer.cc

}  // namespace graft
