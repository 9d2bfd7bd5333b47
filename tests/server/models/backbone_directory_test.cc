#include "server/models/backbone_directory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/store/store_fixture.h"
#include "tests/support/install_backbone.h"
#include "tests/support/script_file.h"

namespace graft {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class BackboneDirectoryTest : public testing::Test {
 protected:
  std::string Path(const std::string& file) const { return directory_.path() + "/" + file; }
  void Write(const std::string& file, const std::string& text) const { std::ofstream(Path(file)) << text; }
  BackboneDirectory::Listing Listed(const std::string& name) {
    for (BackboneDirectory::Listing& listing : backbones_.List()) {
      if (listing.name == name) return std::move(listing);
    }
    ADD_FAILURE() << name << " is not listed";
    return {};
  }

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

TEST_F(BackboneDirectoryTest, PeekKeepsNothing) {
  InstallTinyBackbone(directory_.path());
  const auto peeked = backbones_.Peek("mobilenet_v3_small");
  ASSERT_TRUE(peeked.ok()) << peeked.status();
  const auto kept = backbones_.Get("mobilenet_v3_small");
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_NE(*kept, *peeked) << "loaded anew";
  EXPECT_EQ(*backbones_.Peek("mobilenet_v3_small"), *kept);
  EXPECT_TRUE(absl::IsNotFound(backbones_.Peek("nobody").status()));
}

TEST_F(BackboneDirectoryTest, WhatIsNoNameIsNotFound) {
  InstallTinyBackbone(directory_.path());
  std::filesystem::create_directory(Path("sub"));
  std::filesystem::copy(Path("mobilenet_v3_small.safetensors"), Path("sub/net.safetensors"));
  std::filesystem::copy(Path("mobilenet_v3_small.safetensors"), Path("3net.safetensors"));
  ASSERT_TRUE(backbones_.GetUntrained("mobilenet_v3_small").ok());
  for (const char* name : {"", "sub/net", "../../etc/passwd", "3net", "Net", "untrained:mobilenet_v3_small"}) {
    EXPECT_TRUE(absl::IsNotFound(backbones_.Get(name).status())) << name;
  }
}

TEST_F(BackboneDirectoryTest, MissingOnesAreNotFoundAndNameTheInstalled) {
  InstallTinyBackbone(directory_.path());
  for (const char* name : {"mobilenet_v2", "nobody"}) {
    const absl::Status status = backbones_.Get(name).status();
    EXPECT_TRUE(absl::IsNotFound(status));
    EXPECT_THAT(std::string(status.message()),
                StartsWith(absl::StrCat("backbone: got \"", name, "\", want an installed one: mobilenet_v3_small")));
  }
}

TEST_F(BackboneDirectoryTest, AnyNameMayHoldAnyArchitecture) {
  InstallWeights(TinyWeights(), directory_.path(), "my-net.v2");
  const auto backbone = backbones_.Get("my-net.v2");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_EQ((*backbone)->name(), "my-net.v2");
  EXPECT_EQ((*backbone)->architecture().name, "mobilenet_v3_small");
  EXPECT_EQ(Listed("my-net.v2").digest, (*backbone)->digest());
}

TEST_F(BackboneDirectoryTest, SymbolicLinksAreFollowed) {
  ScratchDirectory elsewhere;
  InstallTinyBackbone(elsewhere.path());
  std::filesystem::create_symlink(elsewhere.path() + "/mobilenet_v3_small.safetensors",
                                  Path("mobilenet_v3_small.safetensors"));
  EXPECT_TRUE(backbones_.Get("mobilenet_v3_small").ok());
}

TEST_F(BackboneDirectoryTest, SafetensorsWinsOverGguf) {
  InstallTinyBackbone(directory_.path());
  Write("mobilenet_v3_small.gguf", "no tensors");
  EXPECT_TRUE(backbones_.Get("mobilenet_v3_small").ok());
}

TEST_F(BackboneDirectoryTest, DamagedGgufIsFailedPrecondition) {
  Write("mobilenet_v2.gguf", "no tensors");
  const absl::Status status = backbones_.Get("mobilenet_v2").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), StartsWith("backbone mobilenet_v2: its file cannot be used: "));
}

TEST_F(BackboneDirectoryTest, ScriptIsLoadedWithItsManifest) {
  InstallScript(directory_.path(), "mean_colour");
  const auto backbone = backbones_.Get("mean_colour");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_EQ((*backbone)->feature_width(), 3);
  EXPECT_FALSE((*backbone)->architecture().trainable);
  EXPECT_EQ(Listed("mean_colour").digest, (*backbone)->digest());
}

TEST_F(BackboneDirectoryTest, ScriptWithoutAManifestIsFailedPrecondition) {
  InstallScript(directory_.path(), "mean_colour");
  std::filesystem::remove(Path("mean_colour.json"));
  const absl::Status status = backbones_.Get("mean_colour").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("it needs a manifest"));
}

TEST_F(BackboneDirectoryTest, ManifestOver64KiBIsFailedPrecondition) {
  InstallScript(directory_.path(), "mean_colour");
  Write("mean_colour.json", std::string((64 << 10) + 1, ' '));
  const absl::Status status = backbones_.Get("mean_colour").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("want at most 65536 bytes"));
}

TEST_F(BackboneDirectoryTest, UntrainedNeedsNoFileAndIsSharedWhileInUse) {
  const auto first = backbones_.GetUntrained("mobilenet_v3_small");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(IsUntrained((*first)->digest()));
  EXPECT_EQ(*backbones_.GetUntrained("mobilenet_v3_small"), *first);
  EXPECT_TRUE(absl::IsNotFound(backbones_.Get("mobilenet_v3_small").status())) << "its weights are not installed";
}

TEST_F(BackboneDirectoryTest, UntrainedIsNotWhatIsInstalled) {
  InstallTinyBackbone(directory_.path());
  EXPECT_TRUE(IsUntrained((*backbones_.GetUntrained("mobilenet_v3_small"))->digest()));
  EXPECT_FALSE(IsUntrained((*backbones_.Get("mobilenet_v3_small"))->digest()));
}

TEST_F(BackboneDirectoryTest, UntrainedWantsAnArchitecture) {
  InstallWeights(TinyWeights(), directory_.path(), "my-net");
  const absl::Status status = backbones_.GetUntrained("my-net").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("want an architecture: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("mobilenet_v3_small"));
}

TEST_F(BackboneDirectoryTest, ArchitectureWithoutPretrainedWeightsNeedsNoFile) {
  const auto backbone = backbones_.Get("small_convnet");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_EQ((*backbone)->digest(), "untrained:small_convnet");
  EXPECT_EQ(Listed("small_convnet").digest, "untrained:small_convnet");
  EXPECT_FALSE(Listed("small_convnet").installed);
}

TEST_F(BackboneDirectoryTest, DamagedFileIsFailedPrecondition) {
  Write("mobilenet_v2.safetensors", "no tensors");
  const absl::Status status = backbones_.Get("mobilenet_v2").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), StartsWith("backbone mobilenet_v2: its file cannot be used: "));
}

TEST_F(BackboneDirectoryTest, FileNamedLikeAnotherArchitectureIsFailedPrecondition) {
  InstallWeights(TinyWeights(), directory_.path(), "mobilenet_v2");
  const absl::Status status = backbones_.Get("mobilenet_v2").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("it holds mobilenet_v3_small"));
}

TEST_F(BackboneDirectoryTest, FileThatIsReplacedIsTakenAfterAFailure) {
  Write("mobilenet_v3_small.safetensors", "no tensors");
  ASSERT_FALSE(backbones_.Get("mobilenet_v3_small").ok());
  InstallTinyBackbone(directory_.path());
  EXPECT_TRUE(backbones_.Get("mobilenet_v3_small").ok());
}

TEST_F(BackboneDirectoryTest, ListsInstalledMissingAndDamagedByName) {
  InstallTinyBackbone(directory_.path());
  Write("mobilenet_v2.safetensors", "no tensors");
  Write("a-net.gguf", "no tensors");
  EXPECT_TRUE(Listed("mobilenet_v3_small").installed);
  EXPECT_EQ(Listed("mobilenet_v3_small").problem, "");
  for (const char* damaged : {"mobilenet_v2", "a-net"}) {
    EXPECT_FALSE(Listed(damaged).installed);
    EXPECT_NE(Listed(damaged).problem, "");
  }
  const auto listings = backbones_.List();
  EXPECT_TRUE(std::is_sorted(listings.begin(), listings.end(),
                             [](const auto& a, const auto& b) { return a.name < b.name; }));
}

TEST_F(BackboneDirectoryTest, WhatIsNoBackboneIsNotListed) {
  const size_t before = backbones_.List().size();
  Write("README.md", "text");
  Write("net.json", "{}");
  Write("Net.safetensors", "capital letter");
  std::filesystem::create_directory(Path("folder.gguf"));
  EXPECT_EQ(backbones_.List().size(), before);
}

TEST_F(BackboneDirectoryTest, ListingSeesAFileThatChanged) {
  Write("mobilenet_v3_small.safetensors", "no tensors");
  EXPECT_NE(Listed("mobilenet_v3_small").problem, "");
  InstallTinyBackbone(directory_.path());
  EXPECT_EQ(Listed("mobilenet_v3_small").problem, "");
  EXPECT_TRUE(Listed("mobilenet_v3_small").installed);
  EXPECT_EQ(Listed("mobilenet_v3_small").digest, (*backbones_.Get("mobilenet_v3_small"))->digest());
}

TEST_F(BackboneDirectoryTest, ListingIsKeptUntilTheFileChanges) {
  InstallTinyBackbone(directory_.path());
  const std::string digest = Listed("mobilenet_v3_small").digest, path = Path("mobilenet_v3_small.safetensors");
  const auto time = std::filesystem::last_write_time(path);
  InstallWeights(TinyWeights(2), directory_.path(), "mobilenet_v3_small");  // as many bytes
  std::filesystem::last_write_time(path, time);
  EXPECT_EQ(Listed("mobilenet_v3_small").digest, digest);
}

TEST_F(BackboneDirectoryTest, ScriptNamedLikeAnArchitectureIsFailedPrecondition) {
  InstallScript(directory_.path(), "resnet18");
  const absl::Status status = backbones_.Get("resnet18").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("want a name that is no architecture's"));
}

TEST_F(BackboneDirectoryTest, MissingOnesAreListedWithoutAProblem) {
  const BackboneDirectory::Listing listing = Listed("mobilenet_v2");
  EXPECT_FALSE(listing.installed);
  EXPECT_EQ(listing.problem, "");
}

TEST(BackboneOfTest, ReferencesToBackbonesOnly) {
  EXPECT_EQ(BackboneOf("backbone/mobilenet_v2"), "mobilenet_v2");
  EXPECT_EQ(BackboneOf("backbone/a/b"), "a/b") << "which no backbone is called";
  EXPECT_EQ(BackboneOf("backbone/"), "");
  for (const char* other : {"", "flowers", "backbone", "backbone@canary", "backbones/x", "flowers/3"}) {
    EXPECT_EQ(BackboneOf(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace graft
