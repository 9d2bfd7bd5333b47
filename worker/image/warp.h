#pragma once

#include "worker/image/image.h"

namespace graft {

// Where an output pixel takes its value from: x_in = a x + b y + c, y_in = d x + e y + f. Pixel i's centre is i + 0.5,
// so that this is the matrix of PIL's Image.transform(AFFINE).
struct Affine {
  double a = 1, b = 0, c = 0;
  double d = 0, e = 1, f = 0;
};

Affine Rotation(double degrees);                // turns the picture counter-clockwise, about the origin
Affine Translation(double right, double down);  // moves the picture by so many pixels

// Takes from (x cos, y - x sin). Source: Keras 2.0, keras/preprocessing/image.py, random_shear, whose first axis is y.
Affine Shear(double degrees);

// Takes from (x horizontal, y vertical): a factor below 1 enlarges the picture, as Keras's zoom.
Affine Zoom(double horizontal, double vertical);

// The matrix product: an output coordinate goes through `right` and then through `left`.
Affine operator*(const Affine& left, const Affine& right);

// `affine`, about the middle of a picture.
Affine AboutMiddle(const Affine& affine, int width_px, int height_px);

// What lies around the picture.
enum class Border {
  kEdge,   // its outermost pixels, without end: Keras's fill_mode="nearest"
  kBlack,  // PIL's fill
};

// One bilinear resampling to the same size, rounded; the weights have 11 bits. Inside the picture within 1 level of
// PIL's Image.transform(AFFINE, BILINEAR), which cuts off instead of rounding; with kBlack outside as well. It does not
// antialias: an Affine that shrinks the picture much skips pixels. Source coordinates stay within +-2^30.
// Threads: safe for concurrent calls.
Image WarpAffine(const Image& image, const Affine& affine, Border border);

}  // namespace graft
