#include "worker/backbone/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace graft {
namespace {

using testing::HasSubstr;

std::string WithHeader(const std::string& header, const std::string& data = "") {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i)));
  return bytes + header + data;
}

void ExpectDataLoss(const std::string& bytes, const std::string& message) {
  const auto file = ParseSafeTensors(bytes);
  ASSERT_FALSE(file.ok()) << message;
  EXPECT_EQ(file.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr(message));
}

TEST(SafeTensorsTest, EveryDtypeSurvivesARoundTrip) {
  SafeTensors file;
  file.metadata = {{"a", "b"}, {"quote", "\"\\\n\u00e9"}};
  const at::Tensor values = at::arange(6).reshape({2, 3});
  const std::map<std::string, at::ScalarType> dtypes = {
      {"f32", at::kFloat}, {"f16", at::kHalf}, {"bf16", at::kBFloat16}, {"f64", at::kDouble},
      {"i64", at::kLong},  {"i32", at::kInt},  {"u8", at::kByte}};
  for (const auto& [name, dtype] : dtypes) file.tensors[name] = values.to(dtype);
  file.tensors["scalar"] = at::scalar_tensor(1.5, at::kFloat);
  file.tensors["empty"] = at::empty({0, 4}, at::kFloat);
  const auto back = ParseSafeTensors(SerializeSafeTensors(file));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->metadata, file.metadata);
  ASSERT_EQ(back->tensors.size(), file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) {
    const at::Tensor& got = back->tensors.at(name);
    EXPECT_EQ(got.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(got, tensor)) << name;
  }
}

TEST(SafeTensorsTest, EqualContentGivesEqualBytesWhateverTheLayout) {
  SafeTensors file, other;
  file.tensors["x"] = at::arange(24, at::kFloat).reshape({1, 2, 3, 4});
  other.tensors["x"] = file.tensors["x"].contiguous(at::MemoryFormat::ChannelsLast);
  const std::string bytes = SerializeSafeTensors(file);
  EXPECT_EQ(SerializeSafeTensors(other), bytes);
  EXPECT_EQ((static_cast<unsigned char>(bytes[0])) % 8, 0) << "the header is padded";
}

// The format's own example, byte by byte.
TEST(SafeTensorsTest, ReadsAHandWrittenFile) {
  const auto file = ParseSafeTensors(
      WithHeader(R"({"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"__metadata__":{"k":"v"}})", "\x01\x02\x03"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata.at("k"), "v");
  EXPECT_TRUE(at::equal(file->tensors.at("t"), at::tensor({1, 2, 3}, at::kByte)));
}

TEST(SafeTensorsTest, TooShortIsDataLoss) { ExpectDataLoss("1234567", "fewer than 8 bytes"); }

TEST(SafeTensorsTest, HeaderOver100MegabytesIsDataLoss) {
  std::string bytes(8, '\0');
  bytes[4] = 1;  // 4 GiB
  ExpectDataLoss(bytes, "want at most 100000000");
  ExpectDataLoss(std::string(8, '\xff'), "want at most 100000000");
}

TEST(SafeTensorsTest, HeaderBeyondTheFileIsDataLoss) {
  std::string bytes = WithHeader("{}");
  bytes[0] = 3;
  ExpectDataLoss(bytes, "beyond the end");
}

TEST(SafeTensorsTest, NotJsonIsDataLoss) {
  for (const char* header : {"", "{", "[]", "1", "{\"a\":}", "\xff\xfe"}) {
    ExpectDataLoss(WithHeader(header), "not a JSON object");
  }
}

// Each is what nlohmann's parser would read as {}.
TEST(SafeTensorsTest, HeaderThatDoesNotBeginWithABraceOrHoldsAZeroByteIsDataLoss) {
  const std::string zero(1, '\0');
  for (const std::string& header : {std::string(" {}"), std::string("\n{}"), std::string("\xef\xbb\xbf{}"),
                                    "{}" + zero, "{}" + zero + "anything"}) {
    ExpectDataLoss(WithHeader(header), "not a JSON object");
  }
  EXPECT_TRUE(ParseSafeTensors(WithHeader("{}  ")).ok()) << "blanks at the end are the format's padding";
}

TEST(SafeTensorsTest, TensorTwiceIsDataLoss) {
  const std::string tensor = R"("t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  ExpectDataLoss(WithHeader("{" + tensor + "," + tensor + "}", "1"), "\"t\" twice");
  ExpectDataLoss(WithHeader("{" + tensor + R"(,"\u0074":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "12"),
                 "\"t\" twice");
}

TEST(SafeTensorsTest, FieldOrMetadataTwiceIsDataLoss) {
  ExpectDataLoss(WithHeader(R"({"t":{"dtype":"U8","shape":[2],"shape":[1],"data_offsets":[0,1]}})", "1"),
                 "\"shape\" twice");
  ExpectDataLoss(WithHeader(R"({"__metadata__":{"k":"a","k":"b"}})"), "\"k\" twice");
  ExpectDataLoss(WithHeader(R"({"__metadata__":{},"__metadata__":{}})"), "\"__metadata__\" twice");
}

TEST(SafeTensorsTest, MoreThan100000TensorsAreDataLoss) {
  std::string header = "{\"0\":0";
  for (int i = 1; i < 100'002; ++i) absl::StrAppend(&header, ",\"", i, "\":0");
  ExpectDataLoss(WithHeader(header + "}"), "more than 100000 tensors");
}

TEST(SafeTensorsTest, LongArraysAreDataLossBeforeTheyCostMemory) {
  std::string objects = "{}", numbers = "1";
  for (int i = 0; i < 100; ++i) {
    objects += ",{}";
    numbers += ",1";
  }
  ExpectDataLoss(WithHeader("{\"a\":[" + objects + "]}"), "a long array");
  ExpectDataLoss(WithHeader(R"({"a":{"dtype":"F32","shape":[)" + numbers + R"(],"data_offsets":[0,4]}})", "1234"),
                 "a long array");
}

TEST(SafeTensorsTest, DeepNestingIsDataLoss) {
  ExpectDataLoss(WithHeader(R"({"a":)" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}"),
                 "not a JSON object");
  ExpectDataLoss(WithHeader(std::string(1'000'000, '[')), "not a JSON object");
}

TEST(SafeTensorsTest, MetadataThatIsNotTextIsDataLoss) {
  ExpectDataLoss(WithHeader(R"({"__metadata__":{"k":1}})"), "\"k\" is not text");
  ExpectDataLoss(WithHeader(R"({"__metadata__":[]})"), "want an object");
}

TEST(SafeTensorsTest, TensorWithoutItsThreeFieldsIsDataLoss) {
  ExpectDataLoss(WithHeader(R"({"t":1})"), "tensor \"t\": want dtype, shape and data_offsets");
  ExpectDataLoss(WithHeader(R"({"t":{"dtype":"F32","shape":[]}})"), "tensor \"t\"");
}

TEST(SafeTensorsTest, UnknownDtypeIsDataLoss) {
  ExpectDataLoss(WithHeader(R"({"t":{"dtype":"F8","shape":[],"data_offsets":[0,1]}})", "1"),
                 "tensor \"t\": got dtype \"F8\"");
  ExpectDataLoss(WithHeader(R"({"t":{"dtype":7,"shape":[],"data_offsets":[0,1]}})", "1"), "got dtype 7");
}

TEST(SafeTensorsTest, BadShapeIsDataLoss) {
  for (const char* shape :
       {"3", "[-1]", "[1.5]", "[\"a\"]", "[9223372036854775808]", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"}) {
    ExpectDataLoss(WithHeader(absl::StrCat(R"({"t":{"dtype":"U8","shape":)", shape, R"(,"data_offsets":[0,1]}})"), "1"),
                   "tensor \"t\": bad shape");
  }
}

TEST(SafeTensorsTest, BadOffsetsAreDataLoss) {
  for (const char* offsets : {"1", "[0]", "[0,1,2]", "[-1,0]", "[0,0.5]"}) {
    ExpectDataLoss(WithHeader(absl::StrCat(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":)", offsets, "}}"), "1"),
                   "tensor \"t\": bad data_offsets");
  }
  ExpectDataLoss(WithHeader(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", "1"), "does not match");
}

TEST(SafeTensorsTest, ShapeThatDoesNotMatchItsBytesIsDataLoss) {
  ExpectDataLoss(WithHeader(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"),
                 "tensor \"t\": its shape does not match its 4 bytes");
}

TEST(SafeTensorsTest, ShapeWhoseSizeOverflowsIsDataLoss) {
  // 2^33 * 2^31 * 4 bytes are 0 modulo 2^64.
  ExpectDataLoss(WithHeader(R"({"t":{"dtype":"F32","shape":[8589934592,2147483648],"data_offsets":[0,0]}})"),
                 "does not match");
  // No bytes, but strides that LibTorch could not count.
  ExpectDataLoss(
      WithHeader(R"({"t":{"dtype":"F32","shape":[0,4611686018427387904,4611686018427387904],"data_offsets":[0,0]}})"),
      "does not match");
}

TEST(SafeTensorsTest, OverlapHoleAndLeftoverAreDataLoss) {
  const std::string a = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)";
  ExpectDataLoss(WithHeader(a + R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", "123"),
                 "tensor \"b\": got offset 1, want 2");
  ExpectDataLoss(WithHeader(a + R"("b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})", "1234"),
                 "tensor \"b\": got offset 3, want 2");
  ExpectDataLoss(WithHeader(a + R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})", "1234"),
                 "got 4 data bytes, want 3");
  ExpectDataLoss(WithHeader(a + R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})", "12"),
                 "got 2 data bytes, want 3");
}

TEST(SafeTensorsTest, EveryTruncationIsDataLoss) {
  SafeTensors file;
  file.tensors["x"] = at::arange(5, at::kFloat);
  const std::string bytes = SerializeSafeTensors(file);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(ParseSafeTensors(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST(ReadSafeTensorsTest, ReadsAFile) {
  SafeTensors file;
  file.tensors["x"] = at::arange(5, at::kFloat);
  const std::string path = testing::TempDir() + "/read.safetensors";
  std::ofstream(path, std::ios::binary) << SerializeSafeTensors(file);
  const auto back = ReadSafeTensors(path);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(at::equal(back->tensors.at("x"), file.tensors["x"]));
}

TEST(ReadSafeTensorsTest, NoFileIsNotFound) {
  EXPECT_EQ(ReadSafeTensors(testing::TempDir() + "/absent.safetensors").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadSafeTensors(testing::TempDir()).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace graft
