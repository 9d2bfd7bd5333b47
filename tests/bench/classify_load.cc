// Keeps a server busy with Classify calls from many callers at once. Prints one JSON object: images and calls answered,
// seconds, and the calls' latency quantiles in milliseconds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/graft_client.h"
#include "worker/base/status.h"

namespace graft {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Options {
  std::string server, model;
  std::vector<std::string> files;
  int callers = 16;
  int images_per_call = 8;
  double seconds = 10;
};

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  if (!in || !(bytes << in.rdbuf())) return absl::NotFoundError(absl::StrCat(path, ": cannot be read, or is empty"));
  return bytes.str();
}

// Requests that together go through all pictures, so that callers need not build one for each call.
std::vector<v1::ClassifyRequest> MakeRequests(const Options& options, const std::vector<std::string>& images) {
  std::vector<v1::ClassifyRequest> requests;
  for (size_t first = 0; first < images.size(); first += options.images_per_call) {
    v1::ClassifyRequest& request = requests.emplace_back();
    request.set_model(options.model);
    for (int i = 0; i < options.images_per_call; ++i) request.add_images(images[(first + i) % images.size()]);
  }
  return requests;
}

struct Totals {
  std::mutex mu;
  std::vector<double> milliseconds;  // of each call
  absl::Status status;               // the first error
};

// One caller: the next call when the last one is answered.
void Call(const Options& options, Client* client, const std::vector<v1::ClassifyRequest>& requests, size_t next,
          SteadyClock::time_point start, Totals* totals) {
  std::vector<double> milliseconds;
  absl::Status status;
  for (; status.ok() && SecondsSince(start) < options.seconds; ++next) {
    const SteadyClock::time_point call_start = SteadyClock::now();
    const auto response = client->Classify(requests[next % requests.size()]);
    status = response.status();
    if (!status.ok()) break;
    if (response->results_size() != options.images_per_call) {
      status = absl::InternalError(
          absl::StrCat("results: got ", response->results_size(), ", want ", options.images_per_call));
    }
    milliseconds.push_back(1e3 * SecondsSince(call_start));
  }
  const std::lock_guard<std::mutex> lock(totals->mu);
  totals->milliseconds.insert(totals->milliseconds.end(), milliseconds.begin(), milliseconds.end());
  if (totals->status.ok()) totals->status = status;
}

void Print(const Options& options, double seconds, std::vector<double> milliseconds) {
  std::sort(milliseconds.begin(), milliseconds.end());
  const auto quantile = [&](double share) {
    if (milliseconds.empty()) return 0.0;
    return milliseconds[static_cast<size_t>(share * static_cast<double>(milliseconds.size() - 1))];
  };
  std::printf("{\"images\": %zu, \"calls\": %zu, \"seconds\": %.3f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n",
              milliseconds.size() * options.images_per_call, milliseconds.size(), seconds, quantile(0.5),
              quantile(0.99));
}

absl::Status Run(const Options& options) {
  ClientOptions client_options;
  client_options.server = options.server;
  ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(client_options));
  std::vector<std::string> images(options.files.size());
  for (size_t i = 0; i < images.size(); ++i) {
    ASSIGN_OR_RETURN(images[i], ReadFile(options.files[i]));
  }
  const std::vector<v1::ClassifyRequest> requests = MakeRequests(options, images);
  Totals totals;
  const SteadyClock::time_point start = SteadyClock::now();
  std::vector<std::thread> callers;
  for (int i = 0; i < options.callers; ++i) {
    callers.emplace_back(Call, std::cref(options), client.get(), std::cref(requests), i, start, &totals);
  }
  for (std::thread& caller : callers) caller.join();
  RETURN_IF_ERROR(totals.status);
  Print(options, SecondsSince(start), std::move(totals.milliseconds));
  return absl::OkStatus();
}

}  // namespace
}  // namespace graft

int main(int argc, char** argv) {
  graft::Options options;
  CLI::App app("Classifies pictures on a server from many callers at once.", "graft_bench_classify_load");
  app.add_option("--server", options.server, "HOST:PORT")->required();
  app.add_option("--model", options.model, "NAME, NAME@ALIAS or NAME/VERSION")->required();
  app.add_option("--callers", options.callers, "Calls at once")->check(CLI::PositiveNumber);
  app.add_option("--images", options.images_per_call, "Pictures in a call")->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds, "After which no call is begun")->check(CLI::PositiveNumber);
  app.add_option("files", options.files, "Pictures")->required();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = graft::Run(options);
  if (status.ok()) return EXIT_SUCCESS;
  std::cerr << "graft_bench_classify_load: " << status.message() << "\n";
  return EXIT_FAILURE;
}
