#include "client/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/format.h"

namespace graft {
namespace {

constexpr size_t kMaxDepth = 16;  // far beyond any message of the API, far below what a stack bears

// Builds the tree from the parser's events. What it refuses it throws as the parser throws its own errors.
class TreeBuilder : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) throw YAML::ParserException(mark, "got a second document, want one");
  }
  void OnDocumentEnd() override {}
  void OnAnchor(const YAML::Mark& mark, const std::string&) override {
    throw YAML::ParserException(mark, "got an anchor, want none");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "got an alias, want the value itself");
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Close(NewNode(YamlNode::Kind::kNothing, mark, "", anchor));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = NewNode(YamlNode::Kind::kScalar, mark, tag, anchor);
    node.quoted = tag == "!";
    node.text = value;
    Close(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, NewNode(YamlNode::Kind::kSequence, mark, tag, anchor));
  }
  void OnSequenceEnd() override { CloseLast(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, NewNode(YamlNode::Kind::kMapping, mark, tag, anchor));
  }
  void OnMapEnd() override { CloseLast(); }

  YamlNode TakeRoot() { return std::move(root_); }

 private:
  static YamlNode NewNode(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) throw YAML::ParserException(mark, "got an anchor, want none");
    // The parser's own marks: "?" is a plain value, "!" a quoted one.
    if (!tag.empty() && tag != "?" && tag != "!") throw YAML::ParserException(mark, "got a tag, want none");
    YamlNode node;
    node.kind = kind;
    node.line = std::max(mark.line, 0) + 1;
    return node;
  }

  void Open(const YAML::Mark& mark, YamlNode node) {
    if (open_.size() == kMaxDepth) {
      throw YAML::ParserException(mark, absl::StrCat("got values nested deeper than ", kMaxDepth, ", want at most that"));
    }
    open_.push_back(std::move(node));
  }
  void CloseLast() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    Close(std::move(node));
  }
  void Close(YamlNode node) {
    (open_.empty() ? root_ : open_.back().children.emplace_back()) = std::move(node);
  }

  int documents_ = 0;
  std::vector<YamlNode> open_;  // collections from the root to the one being read
  YamlNode root_;
};

}  // namespace

absl::StatusOr<YamlNode> ParseYaml(const std::string& text, const std::string& name) {
  std::istringstream in(text);
  TreeBuilder builder;
  try {
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder)) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": got nothing, want a YAML or JSON document"));
    }
    parser.HandleNextDocument(builder);
  } catch (const YAML::Exception& error) {
    const std::string line = error.mark.is_null() ? "" : absl::StrCat(":", error.mark.line + 1);
    return absl::InvalidArgumentError(absl::StrCat(name, line, ": ", Printable(error.msg)));
  }
  return builder.TakeRoot();
}

}  // namespace graft
