#include "worker/backbone/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace graft {
namespace {

using testing::HasSubstr;

enum ValueType : uint32_t {
  kUint8, kInt8, kUint16, kInt16, kUint32, kInt32, kFloat32, kBool, kText, kArray, kUint64, kInt64, kFloat64, kUnknown
};
enum TensorType : uint32_t { kF32 = 0, kF16 = 1, kQ4 = 2, kBf16 = 30 };

std::string Number(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}
std::string U32(uint64_t value) { return Number(value, 4); }
std::string U64(uint64_t value) { return Number(value, 8); }
std::string Text(const std::string& text) { return U64(text.size()) + text; }
std::string Pair(const std::string& key, uint32_t type, const std::string& value) {
  return Text(key) + U32(type) + value;
}
std::string Array(uint32_t type, uint64_t count, const std::string& values) { return U32(type) + U64(count) + values; }
std::string Floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

struct TestTensor {
  std::string name;
  std::vector<uint64_t> dims;  // as the file has them, the innermost first
  uint32_t type = kF32;
  std::string data;
  std::optional<uint64_t> offset = std::nullopt;  // else the next aligned one
};

// The bytes of a GGUF file, sound or not.
struct TestFile {
  std::vector<TestTensor> tensors;
  std::vector<std::string> pairs;
  uint64_t alignment = 32;
  std::string magic = "GGUF";
  std::string version = U32(3);

  void PadTo(std::string* bytes) const { bytes->append((alignment - bytes->size() % alignment) % alignment, '\0'); }

  std::string Bytes() const {
    std::string bytes = magic + version + U64(tensors.size()) + U64(pairs.size()), data;
    for (const std::string& pair : pairs) bytes += pair;
    for (const TestTensor& tensor : tensors) {
      PadTo(&data);
      bytes += Text(tensor.name) + U32(tensor.dims.size());
      for (const uint64_t dim : tensor.dims) bytes += U64(dim);
      bytes += U32(tensor.type) + U64(tensor.offset.value_or(data.size()));
      data += tensor.data;
    }
    if (!tensors.empty()) PadTo(&bytes);
    return bytes + data;
  }
};

const TestTensor kOne{"one", {1}, kF32, Floats({1})};

std::string WithPair(const std::string& pair) { return TestFile{{kOne}, {pair}}.Bytes(); }
std::string WithTensor(const TestTensor& tensor) { return TestFile{{tensor}, {}}.Bytes(); }

SafeTensors Parsed(const std::string& bytes) {
  auto file = ParseGguf(bytes);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *std::move(file) : SafeTensors();
}

void ExpectDataLoss(const std::string& bytes, const std::string& message) {
  const auto file = ParseGguf(bytes);
  ASSERT_FALSE(file.ok()) << message;
  EXPECT_EQ(file.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr(message));
}

TEST(GgufTest, ReadsEachDtype) {
  const SafeTensors file = Parsed(TestFile{{{"f32", {3}, kF32, Floats({1, -2, 0.5f})},
                                            {"f16", {3}, kF16, Number(0x3800C0003C00, 6)},
                                            {"bf16", {3}, kBf16, Number(0x3F00C0003F80, 6)}}, {}}.Bytes());
  ASSERT_EQ(file.tensors.size(), 3u);
  const at::Tensor want = at::tensor({1.0f, -2.0f, 0.5f});
  EXPECT_TRUE(at::equal(file.tensors.at("f32"), want));
  EXPECT_TRUE(at::equal(file.tensors.at("f16"), want.to(at::kHalf)));
  EXPECT_TRUE(at::equal(file.tensors.at("bf16"), want.to(at::kBFloat16)));
}

TEST(GgufTest, DimensionsAreReversed) {
  const SafeTensors file = Parsed(WithTensor({"w", {3, 2}, kF32, Floats({0, 1, 2, 3, 4, 5})}));
  EXPECT_TRUE(at::equal(file.tensors.at("w"), at::arange(6, at::kFloat).view({2, 3})));
}

TEST(GgufTest, ScalarsAndEmptyTensorsAreRead) {
  const SafeTensors file =
      Parsed(TestFile{{{"scalar", {}, kF32, Floats({7})}, {"empty", {4, 0}, kF32, ""}}, {}}.Bytes());
  EXPECT_TRUE(at::equal(file.tensors.at("scalar"), at::scalar_tensor(7.0f)));
  EXPECT_EQ(file.tensors.at("empty").sizes(), (std::vector<int64_t>{0, 4}));
}

TEST(GgufTest, AlignmentOfTheFileIsKept) {
  for (const uint64_t alignment : {8, 16, 64, 4096}) {
    TestFile file{{kOne, {"two", {2}, kF32, Floats({2, 3})}}, {Pair("general.alignment", kUint32, U32(alignment))}};
    file.alignment = alignment;
    const SafeTensors got = Parsed(file.Bytes());
    EXPECT_TRUE(at::equal(got.tensors.at("one"), at::tensor({1.0f}))) << alignment;
    EXPECT_TRUE(at::equal(got.tensors.at("two"), at::tensor({2.0f, 3.0f}))) << alignment;
  }
}

TEST(GgufTest, TensorsMayStandInAnyOrderAndLeaveRoom) {
  TestFile file;  // 1 stands at offset 0, 2 at 96
  file.tensors = {{"b", {1}, kF32, Floats({1}) + std::string(60, '\0'), 96},
                  {"a", {1}, kF32, std::string(32, '\0') + Floats({2}) + std::string(28, '\0'), 0}};
  const SafeTensors got = Parsed(file.Bytes());
  EXPECT_TRUE(at::equal(got.tensors.at("a"), at::tensor({1.0f})));
  EXPECT_TRUE(at::equal(got.tensors.at("b"), at::tensor({2.0f})));
}

TEST(GgufTest, Version2IsRead) {
  TestFile file{{kOne}, {}};
  file.version = U32(2);
  EXPECT_EQ(Parsed(file.Bytes()).tensors.count("one"), 1u);
}

TEST(GgufTest, FileWithoutTensorsIsRead) { EXPECT_TRUE(Parsed(TestFile().Bytes()).tensors.empty()); }

TEST(GgufTest, TextValuesAreKeptAndOthersSkipped) {
  const std::string text = Text("hi");
  const std::string nested = Array(kArray, 2, Array(kUint8, 3, "abc") + Array(kText, 2, text + Text("\xff")));
  const SafeTensors file = Parsed(TestFile{{kOne},
                                           {Pair("t", kText, text), Pair("u8", kUint8, "1"), Pair("i8", kInt8, "1"),
                                            Pair("u16", kUint16, "12"), Pair("i16", kInt16, "12"),
                                            Pair("u32", kUint32, "1234"), Pair("i32", kInt32, "1234"),
                                            Pair("f32", kFloat32, "1234"), Pair("bool", kBool, "\1"),
                                            Pair("u64", kUint64, "12345678"), Pair("i64", kInt64, "12345678"),
                                            Pair("f64", kFloat64, "12345678"), Pair("array", kArray, nested),
                                            Pair("caf\u00e9", kText, Text("\u20ac \U0001F600"))}}.Bytes());
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"t", "hi"}, {"caf\u00e9", "\u20ac \U0001F600"}}));
  EXPECT_EQ(file.tensors.size(), 1u);
}

TEST(GgufTest, SourceHasGraftsNameToo) {
  const std::string source = Pair("general.source", kText, Text("there"));
  const std::string name = Pair("general.name", kText, Text("n"));
  const auto metadata = [](const std::vector<std::string>& pairs) {
    return Parsed(TestFile{{}, pairs}.Bytes()).metadata;
  };
  EXPECT_EQ(metadata({name, source}).at("source"), "there");
  EXPECT_EQ(metadata({name}).at("source"), "n");
  EXPECT_EQ(metadata({name, Pair("source", kText, Text("own"))}).at("source"), "own");
  EXPECT_EQ(metadata({}).count("source"), 0u);
}

TEST(GgufTest, EveryTruncationIsDataLoss) {
  const TestFile file{{kOne, {"two", {2}, kF32, Floats({2, 3})}},
                      {Pair("t", kText, Text("hi")), Pair("a", kArray, Array(kText, 1, Text("x")))}};
  const std::string bytes = file.Bytes();
  ASSERT_EQ(Parsed(bytes).tensors.size(), 2u);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(ParseGguf(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST(GgufTest, AnotherMagicIsDataLoss) {
  TestFile file{{kOne}, {}};
  file.magic = "GGML";
  ExpectDataLoss(file.Bytes(), "magic: want GGUF");
}

TEST(GgufTest, AnotherVersionIsDataLoss) {
  for (const uint32_t version : {0, 1, 4}) {
    TestFile file{{kOne}, {}};
    file.version = U32(version);
    ExpectDataLoss(file.Bytes(), "version: got " + std::to_string(version) + ", want 2 or 3");
  }
}

TEST(GgufTest, BigEndianIsDataLoss) {
  TestFile file{{kOne}, {}};
  file.version = U32(0x03000000);
  ExpectDataLoss(file.Bytes(), "got a big-endian file");
}

TEST(GgufTest, TooManyTensorsOrKeyValuesAreDataLoss) {
  for (const uint64_t count : {uint64_t{100'001}, uint64_t{1} << 60, ~uint64_t{0}}) {
    ExpectDataLoss("GGUF" + U32(3) + U64(count) + U64(0), "tensor count: got ");
    ExpectDataLoss("GGUF" + U32(3) + U64(0) + U64(count), "key-value count: got ");
  }
}

TEST(GgufTest, LengthBeyondTheFileIsDataLoss) {
  for (const uint64_t length : {uint64_t{1000}, uint64_t{1} << 40, uint64_t{1} << 61, ~uint64_t{0}}) {
    ExpectDataLoss(WithPair(Pair("t", kText, U64(length))), "key \"t\": got ");
    ExpectDataLoss(WithPair(Pair("t", kArray, Array(kText, 1, U64(length)))), "key \"t\": got ");
    for (const uint32_t type : {kUint8, kFloat64, kText, kArray}) {
      ExpectDataLoss(WithPair(Pair("t", kArray, Array(type, length, ""))), "key \"t\": got ");
    }
  }
}

TEST(GgufTest, NameOver65535BytesIsDataLoss) {
  ExpectDataLoss(WithPair(Pair(std::string(65'536, 'k'), kBool, "\1")), "key: got 65536 bytes, want at most 65535");
  ExpectDataLoss(WithTensor({std::string(65'536, 't'), {1}, kF32, Floats({1})}), "tensor name: got 65536 bytes");
}

TEST(GgufTest, TextThatIsNotUtf8IsDataLoss) {
  for (const char* text : {"\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
                           "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    ExpectDataLoss(WithPair(Pair("t", kText, Text(text))), "key \"t\": want UTF-8");
    ExpectDataLoss(WithPair(Pair(text, kBool, "\1")), "key: want UTF-8");
    ExpectDataLoss(WithTensor({text, {1}, kF32, Floats({1})}), "tensor name: want UTF-8");
  }
}

TEST(GgufTest, ArraysNestedTooDeepAreDataLoss) {
  std::string deep = Array(kUint8, 0, "");
  for (int i = 0; i < 3; ++i) deep = Array(kArray, 1, deep);
  EXPECT_EQ(Parsed(WithPair(Pair("a", kArray, deep))).tensors.size(), 1u) << "four are read";
  ExpectDataLoss(WithPair(Pair("a", kArray, Array(kArray, 1, deep))), "key \"a\": got arrays nested deeper than 4");
  std::string endless;
  for (int i = 0; i < 100'000; ++i) endless += U32(kArray) + U64(1);
  ExpectDataLoss(WithPair(Pair("a", kArray, endless)), "nested deeper");
}

TEST(GgufTest, UnknownValueTypeIsDataLoss) {
  ExpectDataLoss(WithPair(Pair("v", kUnknown, U64(0))), "key \"v\": got value type 13");
  ExpectDataLoss(WithPair(Pair("v", kArray, Array(0xffffffff, 1, "1"))), "key \"v\": got value type 4294967295");
}

TEST(GgufTest, KeyTwiceIsDataLoss) {
  const std::string pair = Pair("k", kBool, "\1");
  ExpectDataLoss(TestFile{{kOne}, {pair, pair}}.Bytes(), "key \"k\": got it twice");
}

TEST(GgufTest, BadAlignmentIsDataLoss) {
  for (const uint64_t alignment : {uint64_t{0}, uint64_t{4}, uint64_t{24}, uint64_t{8192}, uint64_t{0xffffffff}}) {
    ExpectDataLoss(WithPair(Pair("general.alignment", kUint32, U32(alignment))),
                   "general.alignment: got " + std::to_string(alignment) + ", want a power of two from 8 to 4096");
  }
  ExpectDataLoss(WithPair(Pair("general.alignment", kText, Text("32"))), "general.alignment: got value type 8, want 4");
}

TEST(GgufTest, FiveDimensionsAreDataLoss) {
  ExpectDataLoss(WithTensor({"t", {1, 1, 1, 1, 1}, kF32, Floats({1})}), "tensor \"t\": got 5 dimensions");
}

TEST(GgufTest, QuantisedTensorIsDataLoss) {
  ExpectDataLoss(WithTensor({"t", {32}, kQ4, std::string(18, '\0')}), "tensor \"t\": got tensor type 2, want 0 (F32)");
}

TEST(GgufTest, ShapeWhoseSizeOverflowsIsDataLoss) {
  ExpectDataLoss(WithTensor({"t", {uint64_t{1} << 63}, kF32, ""}), "got an extent of 9223372036854775808");
  ExpectDataLoss(WithTensor({"t", {uint64_t{1} << 33, uint64_t{1} << 31}, kF32, ""}), "larger than any file");
  ExpectDataLoss(WithTensor({"t", {uint64_t{1} << 62, uint64_t{1} << 62, 0}, kF32, ""}), "larger than any file");
}

TEST(GgufTest, OffsetThatIsNotAlignedIsDataLoss) {
  ExpectDataLoss(WithTensor({"t", {1}, kF32, std::string(64, '\0'), 4}),
                 "tensor \"t\": got offset 4, want a multiple of 32");
}

TEST(GgufTest, TensorBeyondTheDataIsDataLoss) {
  ExpectDataLoss(WithTensor({"t", {9}, kF32, std::string(32, '\0')}),
                 "tensor \"t\": got bytes 0 to 36, want them within 32");
  ExpectDataLoss(WithTensor({"t", {1}, kF32, Floats({1}), 32}), "tensor \"t\": got bytes 32 to 36");
  ExpectDataLoss(WithTensor({"t", {0}, kF32, "", 32}), "tensor \"t\": got bytes 32 to 32");
  // The offset is the last aligned one of 64 bits: its end would wrap around to the file's beginning.
  ExpectDataLoss(WithTensor({"t", {16}, kF32, std::string(64, '\0'), ~uint64_t{31}}), "larger than any file");
}

TEST(GgufTest, OverlapIsDataLoss) {
  const TestTensor first{"a", {16}, kF32, std::string(64, '\0')};
  ExpectDataLoss(TestFile{{first, {"b", {8}, kF32, "", 32}}, {}}.Bytes(),
                 "tensor \"b\": got offset 32, want at least 64");
  ExpectDataLoss(TestFile{{first, {"b", {16}, kF32, "", 0}}, {}}.Bytes(), "got offset 0, want at least 64");
}

TEST(GgufTest, TensorTwiceIsDataLoss) {
  ExpectDataLoss(TestFile{{kOne, kOne}, {}}.Bytes(), "tensor \"one\": got it twice");
}

TEST(ReadGgufTest, ReadsAFile) {
  const std::string path = testing::TempDir() + "/read.gguf";
  std::ofstream(path, std::ios::binary) << WithTensor(kOne);
  const auto file = ReadGguf(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(at::equal(file->tensors.at("one"), at::tensor({1.0f})));
}

TEST(ReadGgufTest, NoFileIsNotFound) {
  EXPECT_EQ(ReadGguf(testing::TempDir() + "/absent.gguf").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadGguf(testing::TempDir()).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace graft
