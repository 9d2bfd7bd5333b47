#include "server/ingest/manifest.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/ingest/folder_layout.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// "line path label split" of each.
std::vector<std::string> Parse(absl::string_view file, absl::string_view text) {
  auto lines = ParseManifest(file, text, 100);
  EXPECT_TRUE(lines.ok()) << lines.status();
  std::vector<std::string> parsed;
  if (!lines.ok()) return parsed;
  for (const ManifestLine& line : lines->lines)
    parsed.push_back(absl::StrCat(line.line, " ", line.path, " ", absl::StrJoin(line.Labels(), "+"), " ",
                                  SplitName(line.split)));
  return parsed;
}

std::string Error(absl::string_view file, absl::string_view text) {
  const absl::Status status = ParseManifest(file, text, 3).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

TEST(ManifestTest, CsvColumnsInAnyOrder) {
  EXPECT_THAT(Parse("manifest.csv", "path,label\na.jpg,cats\n./b/c.jpg,big dogs"),
              ElementsAre("2 a.jpg cats unspecified", "3 b/c.jpg big dogs unspecified"));
  EXPECT_THAT(Parse("manifest.csv", "split,label,path\r\ntrain,cats,a\r\n,cats,b\r\nval,dogs,c\r\n"),
              ElementsAre("2 a cats train", "3 b cats unspecified", "4 c dogs validation"));
}

TEST(ManifestTest, CsvQuotingAndByteOrderMark) {
  EXPECT_THAT(Parse("manifest.csv", "\xEF\xBB\xBF\"path\",label\n\n\"a,\"\"b\"\".jpg\",\"c\"\nd,e\n"),
              ElementsAre("3 a,\"b\".jpg c unspecified", "4 d e unspecified"));
}

TEST(ManifestTest, CsvErrorsNameTheLine) {
  EXPECT_THAT(Error("x/manifest.csv", "path,label\na,cats\nb\n"), HasSubstr("x/manifest.csv:3: got 1 fields, want 2"));
  EXPECT_THAT(Error("manifest.csv", "path,label\n\"a,cats\n"), HasSubstr("manifest.csv:2: got a quote that is not"));
  EXPECT_THAT(Error("manifest.csv", "path,label\n\"a\"b,cats\n"), HasSubstr("manifest.csv:2: got text after"));
  EXPECT_THAT(Error("manifest.csv", "path,label\na\"b,cats\n"), HasSubstr("manifest.csv:2: got a quote inside"));
  EXPECT_THAT(Error("manifest.csv", "path,label\n\n\n../a,cats\n"), HasSubstr("manifest.csv:4: path: "));
  EXPECT_THAT(Error("manifest.csv", "path,label\na,\n"), HasSubstr("manifest.csv:2: label: got \"\""));
  EXPECT_THAT(Error("manifest.csv", "path,label\n\"a\nb\",c\n"), HasSubstr("manifest.csv:2: path: "));
  EXPECT_THAT(Error("manifest.csv", "path,label\na,b\nb,b\n./a,b\n"),
              HasSubstr("manifest.csv:4: path: got \"./a\" of line 2 again"));
  EXPECT_THAT(Error("manifest.csv", "path,label,split\na,b,dev\n"), HasSubstr("manifest.csv:2: split: got \"dev\""));
  EXPECT_THAT(Error("manifest.csv", "path,label\n1,a\n2,a\n3,a\n4,a\n"), HasSubstr("manifest.csv:5: got more"));
}

TEST(ManifestTest, CsvHeaderIsRequired) {
  EXPECT_THAT(Error("manifest.csv", ""), HasSubstr("manifest.csv:1: header: got no path"));
  EXPECT_THAT(Error("manifest.csv", "path,split\n"), HasSubstr("header: got no path or no label column"));
  EXPECT_THAT(Error("manifest.csv", "path,label,spilt\n"), HasSubstr("header: got column \"spilt\""));
  EXPECT_THAT(Error("manifest.csv", "path,label,path\n"), HasSubstr("header: got column \"path\""));
}

TEST(ManifestTest, JsonLines) {
  EXPECT_THAT(Parse("manifest.jsonl", "{\"path\": \"a\", \"label\": \"\\u00e9\"}\r\n\n"
                                      "{\"split\": \"test\", \"label\": \"dogs\", \"path\": \"b/c\"}\n"
                                      "{\"split\": null, \"label\": \"dogs\", \"path\": \"d\"}"),
              ElementsAre("1 a \xC3\xA9 unspecified", "3 b/c dogs test", "4 d dogs unspecified"));
}

TEST(ManifestTest, JsonErrorsNameTheLine) {
  EXPECT_THAT(Error("manifest.jsonl", "\n{\"path\": \"a\","), HasSubstr("manifest.jsonl:2: want one JSON object"));
  EXPECT_THAT(Error("manifest.jsonl", "[1]"), HasSubstr("manifest.jsonl:1: want one JSON object"));
  EXPECT_THAT(Error("manifest.jsonl", "{\"path\": \"a\", \"label\": 3}"), HasSubstr(":1: label: want a string"));
  EXPECT_THAT(Error("manifest.jsonl", "{\"path\": \"a\"}"), HasSubstr(":1: label: got \"\""));
  EXPECT_THAT(Error("manifest.jsonl", "{\"label\": \"a\"}"), HasSubstr(":1: path: "));
  EXPECT_THAT(Error("manifest.jsonl", "{\"file\": \"a\"}"), HasSubstr(":1: got key \"file\""));
  EXPECT_THAT(Error("manifest.jsonl", "{\"path\": \"a\\u0000b\", \"label\": \"a\"}"), HasSubstr("control character"));
  EXPECT_THAT(Error("manifest.jsonl", std::string(70'000, '[')), HasSubstr(":1: got 70000 bytes, want at most"));
}

TEST(ManifestTest, CsvLabelsArePartedByBars) {
  EXPECT_THAT(Parse("manifest.csv", "path,labels\na,cats|big dogs\nb,\n\"c,d\",\"x,y|z\"\ne,a|a\n"),
              ElementsAre("2 a cats+big dogs unspecified", "3 b  unspecified", "4 c,d x,y+z unspecified",
                          "5 e a+a unspecified"));
  EXPECT_TRUE(ParseManifest("manifest.csv", "path,labels\n", 3)->multi_label);
  EXPECT_FALSE(ParseManifest("manifest.csv", "path,label\na,b|c\n", 3)->multi_label);  // a name with a bar in it
}

TEST(ManifestTest, JsonLabelsAreAList) {
  EXPECT_THAT(Parse("manifest.jsonl", "{\"path\": \"a\", \"labels\": [\"b|c\", \"d\"]}\n"
                                      "{\"labels\": [], \"path\": \"e\", \"split\": \"val\"}"),
              ElementsAre("1 a b|c+d unspecified", "2 e  validation"));
}

TEST(ManifestTest, WrongLabelsNameTheLine) {
  EXPECT_THAT(Error("manifest.csv", "path,label,labels\n"), HasSubstr(":1: header: got columns label and labels"));
  EXPECT_THAT(Error("manifest.csv", "path,labels,labels\n"), HasSubstr(":1: header: got column \"labels\""));
  EXPECT_THAT(Error("manifest.csv", "path,labels\na,b||c\n"), HasSubstr(":2: labels[1]: got \"\""));
  EXPECT_THAT(Error("manifest.csv", "path,labels\na," + std::string(1000, '|') + "\n"),
              HasSubstr(":2: labels: got more than 100 classes"));
  const std::string first = "{\"path\": \"a\", \"labels\": [\"b\"]}\n";
  EXPECT_THAT(Error("manifest.jsonl", first + "{\"path\": \"c\", \"label\": \"d\"}"),
              HasSubstr(":2: labels: got none, want a list as in the lines before"));
  EXPECT_THAT(Error("manifest.jsonl", first + "{\"path\": \"c\"}"), HasSubstr(":2: labels: got none"));
  EXPECT_THAT(Error("manifest.jsonl", "{\"path\": \"a\", \"label\": \"d\"}\n" + first),
              HasSubstr(":2: got labels, want label as in the lines before"));
  EXPECT_THAT(Error("manifest.jsonl", "{\"path\": \"a\", \"label\": \"d\", \"labels\": []}"),
              HasSubstr(":1: got keys label and labels, want one of the two"));
  for (const std::string list : {"\"b\"", "null", "[1]", "[[\"b\"]]", "{\"b\": 1}"})
    EXPECT_THAT(Error("manifest.jsonl", "{\"path\": \"a\", \"labels\": " + list + "}"),
                HasSubstr(":1: labels: want a list of strings"));
}

TEST(ManifestTest, IsRecognisedByItsName) {
  EXPECT_TRUE(IsManifest("manifest.csv"));
  EXPECT_TRUE(IsManifest("a/b/manifest.jsonl"));
  EXPECT_FALSE(IsManifest("manifest.csv/a"));
  EXPECT_FALSE(IsManifest("my-manifest.csv"));
}

}  // namespace
}  // namespace graft
