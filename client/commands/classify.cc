#include <CLI/CLI.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// Of one request: half of gRPC's and the server's usual limits stays free for the largest single picture.
constexpr size_t kBatchImages = 16;
constexpr size_t kBatchBytes = 16 << 20;
// The largest encoded picture that a server takes (docs/api.md, Limits).
constexpr size_t kPictureBytes = 32 << 20;

// From which probability on a multi-label model says that a picture has a class, as its evaluation counts.
constexpr float kDecisionThreshold = 0.5F;

struct ClassifyArgs {
  std::string model;
  std::vector<std::string> files;
  int32_t top_k = 0;
};

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  const uintmax_t file_bytes = std::filesystem::file_size(path, error);
  if (!error && file_bytes > kPictureBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": got ", file_bytes, " bytes, want at most ", kPictureBytes, " (32 MiB)"));
  }
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  if (in && in.peek() != std::ifstream::traits_type::eof()) bytes << in.rdbuf();
  if (!in || bytes.str().empty()) return absl::NotFoundError(absl::StrCat(path, ": cannot be read, or is empty"));
  return bytes.str();
}

// Whether a request failed for one of its pictures, not for its model, say.
bool IsPictureRefused(const absl::Status& status) {
  return absl::IsInvalidArgument(status) && absl::StartsWith(status.message(), "images[");
}

// Collects files into requests and writes the answers in order.
class Classification {
 public:
  Classification(const Console& console, Client* client, const ClassifyArgs& args)
      : console_(console),
        client_(client),
        args_(args),
        table_({{"FILE", false}, {"LABEL", false}, {"PROBABILITY", true}, {"MODEL", false}}) {}

  absl::Status Run() {
    const absl::Status status = ClassifyAll();
    if (!console_.json) console_.Print(table_);  // also what was answered before a failure
    RETURN_IF_ERROR(status);
    if (refused_ == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(refused_, " of ", args_.files.size(), " files were not classified"));
  }

 private:
  using File = std::pair<std::string, std::string>;  // name, bytes

  absl::Status ClassifyAll() {
    for (const std::string& file : args_.files) {
      absl::StatusOr<std::string> bytes = ReadFile(file);
      if (!bytes.ok()) {
        Refuse(std::string(bytes.status().message()));
        continue;
      }
      if (batch_bytes_ + bytes->size() > kBatchBytes || batch_.size() == kBatchImages) RETURN_IF_ERROR(Flush());
      batch_bytes_ += bytes->size();
      batch_.emplace_back(file, *std::move(bytes));
    }
    return Flush();
  }

  absl::Status Flush() {
    const std::vector<File> batch = std::exchange(batch_, {});
    batch_bytes_ = 0;
    if (batch.empty()) return absl::OkStatus();
    const absl::Status status = Send(batch);
    if (batch.size() == 1 || !IsPictureRefused(status)) return RefuseOne(batch, status);
    // One bad picture fails its whole request: ask for each alone, so that only the bad ones stay without an answer.
    for (const File& file : batch) RETURN_IF_ERROR(RefuseOne({file}, Send({file})));
    return absl::OkStatus();
  }

  // A picture that is refused by itself is reported, and the others go on.
  absl::Status RefuseOne(const std::vector<File>& batch, const absl::Status& status) {
    if (!IsPictureRefused(status)) return status;
    Refuse(absl::StrCat(batch[0].first, ": ", std::string(status.message())));
    return absl::OkStatus();
  }

  void Refuse(const std::string& message) {
    ++refused_;
    console_.PrintError(message);
  }

  absl::Status Send(const std::vector<File>& batch) {
    v1::ClassifyRequest request;
    request.set_model(args_.model);
    request.set_top_k(args_.top_k);
    for (const File& file : batch) request.add_images(file.second);
    ASSIGN_OR_RETURN(const v1::ClassifyResponse response, client_->Classify(request));
    if (static_cast<size_t>(response.results_size()) != batch.size()) {
      return absl::InternalError(absl::StrCat("results: got ", response.results_size(), ", want ", batch.size()));
    }
    for (size_t i = 0; i < batch.size(); ++i) {
      Show(batch[i].first, response, response.results(static_cast<int>(i)));
    }
    return absl::OkStatus();
  }

  void Show(const std::string& file, const v1::ClassifyResponse& response, const v1::ImageResult& result) {
    nlohmann::ordered_json predictions = nlohmann::ordered_json::array();
    for (const v1::Prediction& prediction : result.predictions()) {
      predictions.push_back(nlohmann::ordered_json::parse(ToJson(prediction)));
      // Of one class among others the first is the answer; of any number of classes these are.
      const bool said = response.multi_label() && prediction.probability() >= kDecisionThreshold;
      table_.AddRow({file, prediction.label(),
                     absl::StrFormat("%s%.4f", said ? "* " : "", prediction.probability()), response.model()});
    }
    if (!console_.json) return;
    nlohmann::ordered_json object = {{"file", file}, {"model", response.model()}};
    if (response.multi_label()) object["multi_label"] = true;
    object["predictions"] = predictions;
    // A file name need not be UTF-8, which JSON must be.
    console_.PrintLine(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  }

  const Console& console_;
  Client* const client_;
  const ClassifyArgs& args_;
  Table table_;
  std::vector<File> batch_;
  size_t batch_bytes_ = 0;
  size_t refused_ = 0;
};

absl::Status Classify(const Console& console, const ClassifyArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  return Classification(console, client.get(), args).Run();
}

}  // namespace

void AddClassifyCommand(CLI::App* app, Action* action) {
  const auto args = std::make_shared<ClassifyArgs>();
  CLI::App* classify = app->add_subcommand(
      "classify", "Classify pictures; of a multi-label model * marks the classes that a picture has");
  classify->add_option("--model", args->model, "NAME, NAME@ALIAS, NAME/VERSION, or backbone/NAME")->required();
  classify->add_option("files", args->files, "Pictures: JPEG, PNG, WebP or BMP")->required();
  classify->add_option("--top-k", args->top_k, "Best classes wanted for each (default 5)")->check(Positive());
  classify->callback([args, action] { *action = [args](const Console& console) { return Classify(console, *args); }; });
}

}  // namespace graft
