#pragma once

#include "worker/image/image.h"

namespace graft {

// Colour operations, in place. Each equals Pillow's to the byte where floats are rounded as on x86-64, within 1 level
// where the compiler fuses multiply and add. A factor is >= 0, and 1 leaves the picture as it is.
//
// Threads: safe for concurrent calls on different pictures.
// Source:  Pillow 9.4, ImageEnhance.py, ImageOps.py, libImaging/{Blend,Convert,Filter}.c; torchvision 0.14,
//          transforms/functional_pil.py (hue).

void AdjustBrightness(double factor, Image* image);  // 0 is black
void AdjustContrast(double factor, Image* image);    // 0 is the picture's mean grey
void AdjustSaturation(double factor, Image* image);  // 0 is grey
void AdjustSharpness(double factor, Image* image);   // 0 is smoothed by a 3x3 filter; the outermost pixels stay

// Turns the hue by `shift` of the circle, -0.5 to 0.5, through 8-bit HSV.
void AdjustHue(double shift, Image* image);

// Grey as ITU-R 601 weighs it, in all three channels.
void MakeGrey(Image* image);

void Posterize(int bits, Image* image);          // keeps the high `bits`, 0 to 8, of each value
void Solarize(double threshold, Image* image);   // inverts values of at least `threshold`
void AutoContrast(Image* image);                 // stretches each channel to 0 ... 255
void Equalize(Image* image);                     // flattens each channel's histogram

}  // namespace graft
