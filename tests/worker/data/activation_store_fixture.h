#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "worker/base/sha256.h"
#include "worker/data/activation_store.h"

namespace graft {

using SpacePtr = std::shared_ptr<ActivationStore::Space>;

inline constexpr int64_t kRowBytes = 1152;     // 576 floats in half precision: MobileNetV3-Small's pooled features
inline constexpr int64_t kHeaderBytes = 4096;  // of the format
inline constexpr int64_t kRecordBytes = 1216;  // 24 bytes and the row, rounded up to 64

// A row that no other id has.
inline std::string RowOf(absl::string_view id, int64_t bytes = kRowBytes) {
  Sha256 sha256;
  sha256.Update(id);
  const std::string seed = sha256.Finish();
  std::string row(bytes, '\0');
  for (int64_t i = 0; i < bytes; ++i) row[i] = static_cast<char>(seed[7 + i % 64] + i / 64);
  return row;
}

// A store in a directory of the test's own.
class ActivationStoreFixture : public testing::Test {
 protected:
  ActivationStoreFixture()
      : directory_(absl::StrCat(testing::TempDir(), "/activation_store_",
                                testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(directory_);
  }
  ~ActivationStoreFixture() override { std::filesystem::remove_all(directory_); }

  void Open(int64_t budget_bytes = int64_t{1} << 30) {
    store_.reset();
    auto store = ActivationStore::Open({directory_, budget_bytes});
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  SpacePtr Space(const std::string& key, int64_t row_bytes = kRowBytes) {
    auto space = store_->OpenSpace(key, row_bytes);
    EXPECT_TRUE(space.ok()) << space.status();
    return *std::move(space);
  }
  // A space of `rows` rows, closed again.
  void MakeSpace(const std::string& key, int rows) {
    const SpacePtr space = Space(key);
    for (int i = 0; i < rows; ++i) space->Write(absl::StrCat(i), RowOf(absl::StrCat(i)).data());
    ASSERT_EQ(space->rows(), rows);
  }
  static bool Has(const SpacePtr& space, const std::string& id, int64_t row_bytes = kRowBytes) {
    std::string row(row_bytes, 'x');
    if (!space->Read(id, row.data())) return false;
    EXPECT_EQ(row, RowOf(id, row_bytes)) << id;
    return true;
  }
  std::string Path(absl::string_view key) const {
    Sha256 sha256;
    sha256.Update(key);
    return absl::StrCat(directory_, "/", sha256.Finish().substr(7, 32), ".act");
  }
  static void Overwrite(const std::string& path, int64_t offset, const std::string& bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.good());
  }

  const std::string directory_;
  std::unique_ptr<ActivationStore> store_;
};

}  // namespace graft
