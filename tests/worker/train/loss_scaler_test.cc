#include "worker/train/loss_scaler.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

void Sound(LossScaler* scaler, int steps) {
  for (int i = 0; i < steps; ++i) scaler->Update(false);
}

TEST(LossScalerTest, OffItStaysOne) {
  LossScaler scaler(false);
  EXPECT_EQ(scaler.scale(), 1);
  scaler.Update(true);
  Sound(&scaler, 5000);
  EXPECT_EQ(scaler.scale(), 1);
  EXPECT_EQ(scaler.sound_steps(), 0);
}

// torch.cuda.amp.GradScaler's defaults: init_scale 2^16, growth_factor 2, backoff_factor 0.5, growth_interval 2000.
TEST(LossScalerTest, AnOverflowHalvesIt) {
  LossScaler scaler(true);
  EXPECT_EQ(scaler.scale(), 65536);
  scaler.Update(true);
  EXPECT_EQ(scaler.scale(), 32768);
  scaler.Update(true);
  EXPECT_EQ(scaler.scale(), 16384);
}

TEST(LossScalerTest, TwoThousandSoundStepsDoubleIt) {
  LossScaler scaler(true);
  Sound(&scaler, 1999);
  EXPECT_EQ(scaler.scale(), 65536);
  EXPECT_EQ(scaler.sound_steps(), 1999);
  scaler.Update(false);
  EXPECT_EQ(scaler.scale(), 131072);
  EXPECT_EQ(scaler.sound_steps(), 0);
  Sound(&scaler, 2000);
  EXPECT_EQ(scaler.scale(), 262144);
}

TEST(LossScalerTest, OnlySoundStepsInARowCount) {
  LossScaler scaler(true);
  Sound(&scaler, 1999);
  scaler.Update(true);
  EXPECT_EQ(scaler.sound_steps(), 0);
  Sound(&scaler, 1999);
  EXPECT_EQ(scaler.scale(), 32768);
  scaler.Update(false);
  EXPECT_EQ(scaler.scale(), 65536);
}

TEST(LossScalerTest, RestoredItGoesOn) {
  LossScaler scaler(true);
  scaler.Restore(512, 1998);
  EXPECT_EQ(scaler.scale(), 512);
  EXPECT_EQ(scaler.sound_steps(), 1998);
  scaler.Update(false);
  EXPECT_EQ(scaler.scale(), 512);
  scaler.Update(false);
  EXPECT_EQ(scaler.scale(), 1024);
}

}  // namespace
}  // namespace graft
