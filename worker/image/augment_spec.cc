#include "worker/image/augment_spec.h"

#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace graft {
namespace {

using Lines = std::vector<std::string>;

// NaN is out of every range.
void CheckRange(absl::string_view field, double got, double low, double high, Lines* lines) {
  if (got >= low && got <= high) return;
  lines->push_back(absl::StrCat(field, ": got ", got, ", want ", low, " to ", high));
}

void CheckCrop(const AugmentSpec& spec, Lines* lines) {
  if (!(spec.crop_scale_min > 0 && spec.crop_scale_min <= 1)) {
    lines->push_back(absl::StrCat("crop_scale_min: got ", spec.crop_scale_min, ", want > 0 and at most 1"));
  }
  if (!(spec.crop_scale_max >= spec.crop_scale_min && spec.crop_scale_max <= 1)) {
    lines->push_back(absl::StrCat("crop_scale_max: got ", spec.crop_scale_max, ", want crop_scale_min to 1"));
  }
  CheckRange("crop_ratio", spec.crop_ratio, 1, 10, lines);
}

AugmentSpec Flip() {
  AugmentSpec spec;
  spec.horizontal_flip = 0.5;
  return spec;
}

AugmentSpec CropFlip(double crop_scale_min) {
  AugmentSpec spec = Flip();
  spec.crop_scale_min = crop_scale_min;
  spec.crop_ratio = 4.0 / 3;
  return spec;
}

AugmentSpec Keras() {
  AugmentSpec spec = Flip();
  spec.rotation_degrees = 40;
  spec.shift = 0.2;
  spec.shear_degrees = 0.2 * 180 / 3.14159265358979323846;
  spec.zoom = 0.2;
  return spec;
}

std::vector<std::pair<std::string, AugmentSpec>> Presets() {
  const AugmentSpec crop_flip = CropFlip(0.08);
  AugmentSpec rand_augment = crop_flip;
  rand_augment.rand_augment_ops = 2;
  AugmentSpec trivial_augment = crop_flip;
  trivial_augment.trivial_augment = true;
  trivial_augment.erase = 0.1;
  return {{"none", AugmentSpec()},         {"flip", Flip()},
          {"light", CropFlip(0.5)},        {"crop-flip", crop_flip},
          {"keras", Keras()},              {"rand-augment", rand_augment},
          {"trivial-augment", trivial_augment}};
}

auto Fields(const AugmentSpec& s) {
  return std::tie(s.crop_scale_min, s.crop_scale_max, s.crop_ratio, s.horizontal_flip, s.vertical_flip,
                  s.rotation_degrees, s.shift, s.shear_degrees, s.zoom, s.rand_augment_ops, s.rand_augment_magnitude,
                  s.trivial_augment, s.brightness, s.contrast, s.saturation, s.hue, s.grey, s.erase);
}

}  // namespace

absl::Status AugmentSpec::Validate() const {
  Lines lines;
  CheckCrop(*this, &lines);
  CheckRange("horizontal_flip", horizontal_flip, 0, 1, &lines);
  CheckRange("vertical_flip", vertical_flip, 0, 1, &lines);
  CheckRange("rotation_degrees", rotation_degrees, 0, 180, &lines);
  CheckRange("shift", shift, 0, 1, &lines);
  CheckRange("shear_degrees", shear_degrees, 0, 60, &lines);
  CheckRange("zoom", zoom, 0, 0.9, &lines);
  CheckRange("rand_augment_ops", rand_augment_ops, 0, 14, &lines);
  CheckRange("rand_augment_magnitude", rand_augment_magnitude, 0, 30, &lines);
  if (trivial_augment && rand_augment_ops > 0) {
    lines.push_back("trivial_augment: got true, want false where rand_augment_ops > 0");
  }
  CheckRange("brightness", brightness, 0, 1, &lines);
  CheckRange("contrast", contrast, 0, 1, &lines);
  CheckRange("saturation", saturation, 0, 1, &lines);
  CheckRange("hue", hue, 0, 0.5, &lines);
  CheckRange("grey", grey, 0, 1, &lines);
  CheckRange("erase", erase, 0, 1, &lines);
  return lines.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(lines, "\n"));
}

bool AugmentSpec::operator==(const AugmentSpec& other) const { return Fields(*this) == Fields(other); }

std::string KeyOf(const AugmentSpec& spec) {
  std::string key;
  std::apply([&](const auto&... value) { (absl::StrAppendFormat(&key, "%.17g ", static_cast<double>(value)), ...); },
             Fields(spec));
  return key;
}

absl::StatusOr<AugmentSpec> AugmentPreset(absl::string_view name) {
  for (const auto& [known, spec] : Presets()) {
    if (name == known) return spec;
  }
  return absl::NotFoundError(
      absl::StrCat("augmentation: got \"", name, "\", want one of ", absl::StrJoin(AugmentPresetNames(), ", ")));
}

std::vector<std::string> AugmentPresetNames() {
  std::vector<std::string> names;
  for (const auto& preset : Presets()) names.push_back(preset.first);
  return names;
}

}  // namespace graft
