#include "server/rpc/upload_dataset.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "server/ingest/archive_import.h"
#include "server/rpc/call_context.h"
#include "server/rpc/call_reactor.h"
#include "server/rpc/chunk_pipe.h"
#include "server/rpc/convert.h"
#include "server/rpc/validate.h"
#include "worker/base/status.h"

namespace graft {
namespace {

class UploadDataset : public CallReactor<grpc::ServerReadReactor<v1::UploadDatasetRequest>> {
 public:
  UploadDataset(const IngestContext* ingest, grpc::CallbackServerContext* context, v1::UploadDatasetResponse* response)
      : ingest_(ingest),
        context_(context),
        response_(response),
        pipe_({8, ingest->idle_timeout}, [this] { StartRead(&request_); }) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!importing_) return OnHeader(ok);
    if (!ok) return pipe_.Close(context_->IsCancelled() ? StopStatus(*context_) : absl::OkStatus());
    const absl::Status status = CheckPart();
    if (!status.ok()) return pipe_.Close(status);
    if (pipe_.Offer(std::move(*request_.mutable_chunk()))) StartRead(&request_);
  }

  void OnCancel() override { pipe_.Close(StopStatus(*context_)); }

 private:
  void OnHeader(bool ok) {
    if (!ok && context_->IsCancelled()) return End(StopStatus(*context_));
    if (!ok) return End(absl::InvalidArgumentError("header: got an empty stream, want a header as first message"));
    if (!request_.has_header())
      return End(absl::InvalidArgumentError("header: got a message without it, want a header as first message"));
    slot_ = ingest_->uploads->TryTake();
    if (slot_ == nullptr) return End(absl::ResourceExhaustedError("too many uploads at once: retry later"));
    header_ = std::move(*request_.mutable_header());
    importing_ = true;
    // The hold that this takes keeps the call open while the import's pops start reads.
    RunOn(ingest_->executor, [this] {
      const absl::Status status = Import();
      slot_.reset();
      End(status);
    });
    StartRead(&request_);
  }

  absl::Status CheckPart() const {
    if (request_.has_header())
      return absl::InvalidArgumentError("header: got a second one, want it in the first message only");
    return ValidateChunk(static_cast<int64_t>(request_.chunk().size()), ingest_->limits);
  }

  // On the import's thread.
  absl::Status Import() {
    ASSIGN_OR_RETURN(const std::unique_ptr<DatasetBuilder> builder, NewBuilder(header_, *ingest_));
    RETURN_IF_ERROR(ImportArchive([this] { return pipe_.Pop(); }, ingest_->limits.ingest, builder.get()));
    if (context_->IsCancelled()) return StopStatus(*context_);
    ASSIGN_OR_RETURN(const IngestResult result, builder->Commit());
    *response_ = ToProto(result);
    return absl::OkStatus();
  }

  const IngestContext* const ingest_;
  grpc::CallbackServerContext* const context_;
  v1::UploadDatasetResponse* const response_;
  v1::UploadDatasetRequest request_;  // of the read under way
  v1::DatasetHeader header_;
  bool importing_ = false;  // of the reads' reactions, which come one after the other
  std::shared_ptr<void> slot_;
  ChunkPipe pipe_;
};

}  // namespace

grpc::ServerReadReactor<v1::UploadDatasetRequest>* NewUploadDataset(const IngestContext* ingest,
                                                                    grpc::CallbackServerContext* context,
                                                                    v1::UploadDatasetResponse* response) {
  return new UploadDataset(ingest, context, response);
}

}  // namespace graft
