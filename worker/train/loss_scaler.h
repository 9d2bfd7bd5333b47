#pragma once

#include <cstdint>

namespace graft {

// The factor that keeps float16 gradients from vanishing: halved after a step whose gradients overflowed, which is
// left out, doubled after 2000 sound ones in a row. Source: Micikevicius et al. 2018 (arXiv:1710.03740); constants of
// torch.cuda.amp.GradScaler.
//
// Threads: one at a time.
class LossScaler {
 public:
  explicit LossScaler(bool on) : scale_(on ? 65536.0 : 1.0), on_(on) {}

  double scale() const { return scale_; }
  int64_t sound_steps() const { return sound_steps_; }
  void Update(bool overflowed) {
    if (!on_) return;
    sound_steps_ = overflowed ? 0 : sound_steps_ + 1;
    if (overflowed) scale_ /= 2;
    if (sound_steps_ == 2000) {
      scale_ *= 2;
      sound_steps_ = 0;
    }
  }
  void Restore(double scale, int64_t sound_steps) {
    scale_ = scale;
    sound_steps_ = sound_steps;
  }

 private:
  double scale_;
  const bool on_;
  int64_t sound_steps_ = 0;
};

}  // namespace graft
