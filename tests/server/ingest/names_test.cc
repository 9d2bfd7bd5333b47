#include "server/ingest/names.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

TEST(NamesTest, GoodNames) {
  for (const std::string& name : {std::string("a"), std::string("0"), std::string("a.b_c-9"), std::string(64, 'a')})
    EXPECT_TRUE(CheckName("name", name).ok()) << name;
}

TEST(NamesTest, BadNamesAreInvalidArgument) {
  for (const std::string& name : {std::string(), std::string("A"), std::string("-a"), std::string(".a"),
                                  std::string("a/b"), std::string("a b"), std::string("\xC3\xA9"),
                                  std::string(65, 'a')})
    EXPECT_EQ(CheckName("name", name).code(), absl::StatusCode::kInvalidArgument) << name;
  EXPECT_EQ(CheckName("model", "a\n").message(),
            "model: got \"a\\n\", want 1 to 64 of [a-z0-9._-], starting with a letter or digit");
}

TEST(NamesTest, LabelsOfAPictureAreCheckedOneByOne) {
  EXPECT_TRUE(CheckLabels({}).ok());
  EXPECT_TRUE(CheckLabels(std::vector<std::string>(kMaxLabels, "a")).ok());
  EXPECT_EQ(CheckLabels({"a", ""}).message(),
            "labels[1]: got \"\", want 1 to 128 bytes of UTF-8 without control characters");
  const absl::Status status = CheckLabels(std::vector<std::string>(kMaxLabels + 1, "a"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "labels: got more than 100 classes of one picture, want at most that many");
}

TEST(NamesTest, PlainTextIsUtf8WithoutControlCharacters) {
  for (const char* text : {"", "a b", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_TRUE(IsPlainText(text)) << text;
}

TEST(NamesTest, WhatIsNotPlainText) {
  const char* const texts[] = {"\n", "\x7F", "\xC2\x85",        // control characters
                               "\x80", "\xFF", "\xC3", "\xC3(",  // no sequence
                               "\xC0\xAF", "\xE0\x80\xAF", "\xF0\x80\x80\xAF",  // overlong
                               "\xED\xA0\x80", "\xF4\x90\x80\x80"};             // surrogate, past U+10FFFF
  for (const char* text : texts) EXPECT_FALSE(IsPlainText(text)) << Printable(text);
  EXPECT_FALSE(IsPlainText(absl::string_view("a\0b", 3)));
}

TEST(NamesTest, PrintableKeepsPlainTextAndEscapesTheRest) {
  EXPECT_EQ(Printable("caf\xC3\xA9"), "caf\xC3\xA9");
  EXPECT_EQ(Printable("caf\xE9"), "caf\\xe9");
  EXPECT_EQ(Printable(std::string(5000, 'a')).size(), 1024u);
}

}  // namespace
}  // namespace graft
