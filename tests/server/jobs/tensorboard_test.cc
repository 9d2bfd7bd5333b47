#include "server/jobs/tensorboard.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/jobs/read_tensorboard.h"
#include "tests/server/store/store_fixture.h"
#include "worker/base/status.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;
using testing::UnorderedElementsAre;

constexpr char kName[] = "events.out.tfevents.0000000256.graft";
constexpr char kVersionLine[] = R"({"wall_time": 256.5, "file_version": "brain.Event:2"})";

// The most that this process may write to a file, while it lives; a write beyond it is an error and not a signal.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    GRAFT_CHECK(getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit now = {bytes, before_.rlim_max};
    GRAFT_CHECK(setrlimit(RLIMIT_FSIZE, &now) == 0);
  }
  ~FileSizeLimit() {
    GRAFT_CHECK(setrlimit(RLIMIT_FSIZE, &before_) == 0);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_;
  void (*handler_)(int);
};

class TensorBoardWriterTest : public testing::Test {
 protected:
  std::unique_ptr<TensorBoardWriter> Open() {
    auto writer = TensorBoardWriter::Open(directory_.path(), time_);
    GRAFT_CHECK(writer.ok());
    return *std::move(writer);
  }

  std::string Bytes(const std::string& name) const {
    std::ifstream file(directory_.path() + "/" + name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  std::vector<std::string> Read() const { return ReadTensorBoard(directory_.path()); }

  // The descriptor by which this process holds the event file open.
  int Descriptor() const {
    for (int file = 0; file < 1024; ++file) {
      std::error_code error;
      const auto path = std::filesystem::read_symlink(absl::StrCat("/proc/self/fd/", file), error);
      if (!error && path.filename() == kName) return file;
    }
    return -1;
  }

  ScratchDirectory directory_;
  const absl::Time time_ = absl::UnixEpoch() + absl::Seconds(256.5);
};

TEST_F(TensorBoardWriterTest, WritesTheBytesOfAnotherWriter) {
  // Producer: TeamHG-Memex/tensorboard_logger (tests/test_tensorboard_logger.py, test_serialization):
  // v/1 = 1.5 at step 1, v/22 = 16 at step 2, all at 256.5 s. Exact.
  static constexpr char kGolden[] =
      "\x18\0\0\0\0\0\0\0\xa3\x7fK\"\t\0\0\0\0\0\x08p@\x1a\rbrain.Event:2\xbc\x98!+"
      "\x19\0\0\0\0\0\0\0\x8b\xf1\x08(\t\0\0\0\0\0\x08p@\x10\x01*\x0c\n\n\n\x03v/1\x15\0\0\xc0?,\xec\xc0\x87"
      "\x1a\0\0\0\0\0\0\0\x12\x9b\xd8-\t\0\0\0\0\0\x08p@\x10\x02*\r\n\x0b\n\x04v/22\x15\0\0\x80"
      "A\x8f\xa3\xb6\x88";
  const auto writer = Open();
  ASSERT_TRUE(writer->AddScalars(1, time_, {{"v/1", 1.5}}).ok());
  ASSERT_TRUE(writer->AddScalars(2, time_, {{"v/22", 16.0}}).ok());
  EXPECT_EQ(Bytes(kName), std::string(kGolden, sizeof(kGolden) - 1));
}

TEST_F(TensorBoardWriterTest, EachAddIsInTheFileAtOnce) {
  const auto writer = Open();
  EXPECT_THAT(Read(), ElementsAre(kVersionLine));
  ASSERT_TRUE(writer->AddScalars(7, time_ + absl::Seconds(1), {{"loss/train", 0.5}, {"loss/validation", -2}}).ok());
  EXPECT_THAT(Read(), ElementsAre(kVersionLine,
                                  R"({"wall_time": 257.5, "step": 7, "summary": {"value": [)"
                                  R"({"tag": "loss/train", "simple_value": 0.5}, )"
                                  R"({"tag": "loss/validation", "simple_value": -2.0}]}})"));
}

TEST_F(TensorBoardWriterTest, ValueThatIsNotFiniteIsWrittenAsItIs) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  ASSERT_TRUE(Open()->AddScalars(0, time_, {{"a", std::numeric_limits<double>::quiet_NaN()}, {"b", -kInfinity}}).ok());
  EXPECT_THAT(Read(), ElementsAre(kVersionLine, EndsWith(R"([{"tag": "a", "simple_value": NaN}, )"
                                                         R"({"tag": "b", "simple_value": -Infinity}]}})")));
}

TEST_F(TensorBoardWriterTest, TextIsAStringTensorOfTheTextPlugin) {
  ASSERT_TRUE(Open()->AddText("configuration", 3, time_, "| a |\n|---|\n| \xc3\xa9 |").ok());
  EXPECT_THAT(Read(), ElementsAre(kVersionLine,
                                  R"({"wall_time": 256.5, "step": 3, "summary": {"value": [{"tag": "configuration", )"
                                  R"("tensor": {"dtype": 7, "tensor_shape": {}, )"
                                  R"("string_val": ["| a |\n|---|\n| \u00e9 |"]}, )"
                                  R"("metadata": {"plugin_data": {"plugin_name": "text"}}}]}})"));
}

TEST_F(TensorBoardWriterTest, LongTextIsReadBack) {
  const std::string text(300'000, 'x');
  ASSERT_TRUE(Open()->AddText("long", 0, time_, text).ok());
  const std::vector<std::string> lines = Read();
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_NE(lines[1].find(absl::StrCat("[\"", text, "\"]")), std::string::npos);
}

TEST_F(TensorBoardWriterTest, ResumedJobGoesOnInANewFile) {
  ASSERT_TRUE(Open()->AddScalars(1, time_, {{"a", 1}}).ok());
  const std::string first = Bytes(kName);
  ASSERT_TRUE(Open()->AddScalars(2, time_, {{"a", 2}}).ok());
  Open();
  EXPECT_THAT(Names(), UnorderedElementsAre(kName, absl::StrCat(kName, ".1"), absl::StrCat(kName, ".2")));
  EXPECT_EQ(Bytes(kName), first);
  EXPECT_THAT(Read(), ElementsAre(kVersionLine, EndsWith(R"([{"tag": "a", "simple_value": 1.0}]}})"), kVersionLine,
                                  EndsWith(R"([{"tag": "a", "simple_value": 2.0}]}})"), kVersionLine));
}

TEST_F(TensorBoardWriterTest, MakesTheDirectory) {
  const std::string inner = directory_.path() + "/jobs/1";
  ASSERT_TRUE(TensorBoardWriter::Open(inner, time_).ok());
  EXPECT_TRUE(std::filesystem::exists(absl::StrCat(inner, "/", kName)));
}

TEST_F(TensorBoardWriterTest, DirectoryThatCannotBeMadeIsInternal) {
  std::ofstream(directory_.path() + "/file") << "in the way";
  EXPECT_TRUE(absl::IsInternal(TensorBoardWriter::Open(directory_.path() + "/file/job", time_).status()));
}

TEST_F(TensorBoardWriterTest, FileThatCannotBeMadeIsInternal) {
  std::string deep = directory_.path();  // the directory's name just fits in PATH_MAX, 4096; the file's does not
  while (deep.size() < 4080) deep += "/" + std::string(std::min<size_t>(200, 4079 - deep.size()), 'd');
  EXPECT_TRUE(absl::IsInternal(TensorBoardWriter::Open(deep, time_).status()));
  EXPECT_TRUE(std::filesystem::exists(deep));
}

TEST_F(TensorBoardWriterTest, NoSpaceForTheFirstRecordIsResourceExhaustedAndLeavesNoFile) {
  {
    const FileSizeLimit little_space(10);
    EXPECT_TRUE(absl::IsResourceExhausted(TensorBoardWriter::Open(directory_.path(), time_).status()));
  }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(TensorBoardWriterTest, NoSpaceIsResourceExhaustedAndLeavesTheFileWhole) {
  const auto writer = Open();
  const std::string before = Bytes(kName);
  {
    const FileSizeLimit little_space(before.size() + 10);  // room for a part of the record
    EXPECT_TRUE(absl::IsResourceExhausted(writer->AddScalars(1, time_, {{"a", 1}})));
    EXPECT_TRUE(absl::IsResourceExhausted(writer->AddText("a", 1, time_, "text")));
  }
  EXPECT_EQ(Bytes(kName), before);
  ASSERT_TRUE(writer->AddScalars(2, time_, {{"a", 2}}).ok());
  EXPECT_THAT(Read(), ElementsAre(kVersionLine, StartsWith(R"({"wall_time": 256.5, "step": 2,)")));
}

TEST_F(TensorBoardWriterTest, FileThatCannotBeWrittenIsInternal) {
  const auto writer = Open();
  const int for_reading = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(for_reading, 0);
  ASSERT_GE(dup2(for_reading, Descriptor()), 0);
  close(for_reading);
  EXPECT_TRUE(absl::IsInternal(writer->AddScalars(1, time_, {{"a", 1}})));
  EXPECT_TRUE(absl::IsInternal(writer->AddText("a", 1, time_, "text")));
}

}  // namespace
}  // namespace graft
