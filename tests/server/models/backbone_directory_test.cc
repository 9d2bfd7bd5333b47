#include "server/models/backbone_directory.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/store/store_fixture.h"
#include "tests/support/install_backbone.h"

namespace graft {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class BackboneDirectoryTest : public testing::Test {
 protected:
  std::string Path(const std::string& file) const { return directory_.path() + "/" + file; }

  ScratchDirectory directory_;
  BackboneDirectory backbones_{directory_.path()};
};

TEST_F(BackboneDirectoryTest, LoadsOnceAndKeeps) {
  InstallTinyBackbone(directory_.path());
  const auto first = backbones_.Get("mobilenet_v3_small");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ((*first)->name(), "mobilenet_v3_small");
  std::filesystem::remove(Path("mobilenet_v3_small.safetensors"));
  EXPECT_EQ(*backbones_.Get("mobilenet_v3_small"), *first);
}

TEST_F(BackboneDirectoryTest, UnknownArchitectureIsNotFoundAndNamesTheKnown) {
  const absl::Status status = backbones_.Get("../../etc/passwd").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("want one of mobilenet_v2, mobilenet_v3_small"));
}

TEST_F(BackboneDirectoryTest, MissingWeightsAreNotFoundAndNameTheInstalled) {
  InstallTinyBackbone(directory_.path());
  const absl::Status status = backbones_.Get("mobilenet_v2").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(status.message(), "backbone: got \"mobilenet_v2\", want an installed one: mobilenet_v3_small");
}

TEST_F(BackboneDirectoryTest, DamagedFileIsFailedPrecondition) {
  std::ofstream(Path("mobilenet_v2.safetensors")) << "no tensors";
  const absl::Status status = backbones_.Get("mobilenet_v2").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), StartsWith("backbone mobilenet_v2: its file cannot be used: "));
}

TEST_F(BackboneDirectoryTest, WeightsOfAnotherArchitectureAreFailedPrecondition) {
  InstallTinyBackbone(directory_.path());
  std::filesystem::rename(Path("mobilenet_v3_small.safetensors"), Path("mobilenet_v2.safetensors"));
  EXPECT_TRUE(absl::IsFailedPrecondition(backbones_.Get("mobilenet_v2").status()));
}

TEST_F(BackboneDirectoryTest, FileThatIsReplacedIsTakenAfterAFailure) {
  std::ofstream(Path("mobilenet_v3_small.safetensors")) << "no tensors";
  ASSERT_FALSE(backbones_.Get("mobilenet_v3_small").ok());
  InstallTinyBackbone(directory_.path());
  EXPECT_TRUE(backbones_.Get("mobilenet_v3_small").ok());
}

TEST_F(BackboneDirectoryTest, ListsInstalledMissingAndDamaged) {
  InstallTinyBackbone(directory_.path());
  std::ofstream(Path("mobilenet_v2.safetensors")) << "no tensors";
  bool installed = false, damaged = false;
  for (const BackboneDirectory::Listing& listing : backbones_.List()) {
    if (listing.name == "mobilenet_v3_small") installed = listing.backbone != nullptr && listing.problem.empty();
    if (listing.name == "mobilenet_v2") damaged = listing.backbone == nullptr && !listing.problem.empty();
  }
  EXPECT_TRUE(installed);
  EXPECT_TRUE(damaged);
}

TEST_F(BackboneDirectoryTest, MissingOnesAreListedWithoutAProblem) {
  for (const BackboneDirectory::Listing& listing : backbones_.List()) {
    EXPECT_EQ(listing.backbone, nullptr) << listing.name;
    EXPECT_EQ(listing.problem, "") << listing.name;
  }
  EXPECT_FALSE(backbones_.List().empty());
}

}  // namespace
}  // namespace graft
