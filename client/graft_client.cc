#include "client/graft_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/stubs.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kPageSize = 1000;  // the largest the API allows

std::shared_ptr<grpc::Channel> MakeChannel(const ClientOptions& options) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  args.SetMaxSendMessageSize(-1);  // the server sets the limit and says so
  // A quiet watch must notice a peer that is gone: ping after a minute of silence, wait 20 s for the answer.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60 * 1000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20 * 1000);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // gRPC's own pause between connection attempts grows to 2 minutes otherwise.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5 * 1000);
  return grpc::CreateCustomChannel(options.server, grpc::InsecureChannelCredentials(), args);
}

// Gathers the items of all pages, or the first `limit` of them (0 = no limit).
template <typename Item, typename Request, typename Fetch, typename Items>
absl::StatusOr<std::vector<Item>> AllPages(Request request, const Fetch& fetch, const Items& items, int limit = 0) {
  std::vector<Item> all;
  request.set_page_size(limit > 0 && limit < kPageSize ? limit : kPageSize);
  do {
    ASSIGN_OR_RETURN(const auto page, fetch(request));
    for (const Item& item : items(page)) {
      all.push_back(item);
      if (limit > 0 && all.size() == static_cast<size_t>(limit)) return all;
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

}  // namespace

absl::Status ClientOptions::Validate() const {
  std::vector<std::string> problems;
  if (server.empty()) problems.push_back("server: got \"\", want host:port");
  if (connect_timeout <= absl::ZeroDuration()) {
    problems.push_back(absl::StrCat("connect_timeout: got ", absl::FormatDuration(connect_timeout), ", want > 0"));
  }
  if (rpc_timeout <= absl::ZeroDuration()) {
    problems.push_back(absl::StrCat("rpc_timeout: got ", absl::FormatDuration(rpc_timeout), ", want > 0"));
  }
  if (max_message_bytes < 1 || max_message_bytes > std::numeric_limits<int>::max()) {
    problems.push_back(absl::StrCat("max_message_bytes: got ", max_message_bytes, ", want 1 to 2147483647"));
  }
  if (max_retries < 0) problems.push_back(absl::StrCat("max_retries: got ", max_retries, ", want >= 0"));
  if (max_reconnects < 0) problems.push_back(absl::StrCat("max_reconnects: got ", max_reconnects, ", want >= 0"));
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(Options options) {
  RETURN_IF_ERROR(options.Validate());
  std::shared_ptr<grpc::Channel> channel = MakeChannel(options);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() +
                                 absl::ToChronoMilliseconds(options.connect_timeout))) {
    return absl::UnavailableError(absl::StrCat("no graft server answers at ", options.server, " within ",
                                               absl::FormatDuration(options.connect_timeout)));
  }
  return OverChannel(std::move(channel), std::move(options));
}

std::unique_ptr<Client> Client::OverChannel(std::shared_ptr<grpc::Channel> channel, Options options) {
  return std::unique_ptr<Client>(new Client(std::move(channel), std::move(options)));
}

Client::Client(std::shared_ptr<grpc::Channel> channel, Options options)
    : options_(std::move(options)), stubs_(std::make_unique<Stubs>(channel)) {}

Client::~Client() = default;

absl::StatusOr<v1::Dataset> Client::GetDataset(const std::string& name, const std::string& version) {
  v1::GetDatasetRequest request;
  request.set_name(name);
  request.set_version(version);
  return CallUnary(stubs_->datasets, &v1::DatasetService::Stub::GetDataset, request, options_.rpc_timeout);
}

absl::StatusOr<std::vector<v1::Dataset>> Client::ListDatasets() {
  return AllPages<v1::Dataset>(
      v1::ListDatasetsRequest(),
      [this](const auto& request) {
        return CallUnary(stubs_->datasets, &v1::DatasetService::Stub::ListDatasets, request, options_.rpc_timeout);
      },
      [](const auto& page) -> const auto& { return page.datasets(); });
}

absl::Status Client::DeleteDataset(const std::string& name, const std::string& version) {
  v1::DeleteDatasetRequest request;
  request.set_name(name);
  request.set_version(version);
  return CallUnary(stubs_->datasets, &v1::DatasetService::Stub::DeleteDataset, request, options_.rpc_timeout).status();
}

absl::StatusOr<std::vector<v1::Job>> Client::ListJobs(const std::vector<v1::JobState>& states, int limit) {
  v1::ListJobsRequest wanted;
  for (const v1::JobState state : states) wanted.add_states(state);
  return AllPages<v1::Job>(
      wanted,
      [this](const auto& request) {
        return CallUnary(stubs_->jobs, &v1::JobService::Stub::ListJobs, request, options_.rpc_timeout);
      },
      [](const auto& page) -> const auto& { return page.jobs(); }, limit);
}

absl::StatusOr<v1::Job> Client::CancelJob(const std::string& id) {
  v1::CancelJobRequest request;
  request.set_id(id);
  return CallUnary(stubs_->jobs, &v1::JobService::Stub::CancelJob, request, options_.rpc_timeout);
}

absl::StatusOr<std::vector<v1::Model>> Client::ListModels() {
  return AllPages<v1::Model>(
      v1::ListModelsRequest(),
      [this](const auto& request) {
        return CallUnary(stubs_->models, &v1::ModelService::Stub::ListModels, request, options_.rpc_timeout);
      },
      [](const auto& page) -> const auto& { return page.models(); });
}

absl::StatusOr<v1::Model> Client::GetModel(const std::string& name) {
  v1::GetModelRequest request;
  request.set_name(name);
  return CallUnary(stubs_->models, &v1::ModelService::Stub::GetModel, request, options_.rpc_timeout);
}

absl::StatusOr<v1::Model> Client::SetAlias(const std::string& name, const std::string& alias, int64_t version) {
  v1::SetAliasRequest request;
  request.set_name(name);
  request.set_alias(alias);
  request.set_version(version);
  return CallUnary(stubs_->models, &v1::ModelService::Stub::SetAlias, request, options_.rpc_timeout);
}

absl::StatusOr<v1::Model> Client::DeleteModelVersion(const std::string& name, int64_t version) {
  v1::DeleteModelVersionRequest request;
  request.set_name(name);
  request.set_version(version);
  return CallUnary(stubs_->models, &v1::ModelService::Stub::DeleteModelVersion, request, options_.rpc_timeout);
}

absl::StatusOr<std::vector<v1::Backbone>> Client::ListBackbones() {
  ASSIGN_OR_RETURN(const auto response, CallUnary(stubs_->models, &v1::ModelService::Stub::ListBackbones,
                                                  v1::ListBackbonesRequest(), options_.rpc_timeout));
  return std::vector<v1::Backbone>(response.backbones().begin(), response.backbones().end());
}

absl::StatusOr<v1::Backbone> Client::GetBackbone(const std::string& name) {
  ASSIGN_OR_RETURN(std::vector<v1::Backbone> backbones, ListBackbones());
  std::vector<std::string> names;
  for (v1::Backbone& backbone : backbones) {
    if (backbone.name() == name) return std::move(backbone);
    names.push_back(backbone.name());
  }
  return absl::NotFoundError(absl::StrCat("backbone: got \"", name, "\", want one of ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<v1::ClassifyResponse> Client::Classify(const v1::ClassifyRequest& request) {
  return CallUnary(stubs_->inference, &v1::InferenceService::Stub::Classify, request, options_.rpc_timeout);
}

absl::StatusOr<v1::ServerInfo> Client::GetServerInfo() {
  return CallUnary(stubs_->system, &v1::SystemService::Stub::GetServerInfo, v1::GetServerInfoRequest(),
                   options_.rpc_timeout);
}

}  // namespace graft
