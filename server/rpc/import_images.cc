#include "server/rpc/import_images.h"

#include <grpcpp/alarm.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/rpc/call_context.h"
#include "server/rpc/call_reactor.h"
#include "server/rpc/convert.h"
#include "worker/base/status.h"

namespace graft {
namespace {

class ImportImages : public CallReactor<grpc::ServerBidiReactor<v1::ImportImagesRequest, v1::ImportImagesResponse>> {
 public:
  ImportImages(const IngestContext* ingest, grpc::CallbackServerContext* context)
      : ingest_(ingest), context_(context), slot_(ingest->imports->TryTake()) {
    if (slot_ == nullptr) {
      End(absl::ResourceExhaustedError("too many imports at once: retry later"));
    } else {
      Read();
    }
  }

  // A read that failed without a cancellation is the half-close.
  void OnReadDone(bool ok) override {
    idle_.reset();  // cancels it, when it has not rung
    if (!ok && context_->IsCancelled()) return End(StopStatus(*context_));
    RunOn(ingest_->executor, [this, ok] {
      const absl::Status status = builder_ == nullptr ? Begin(ok) : ok ? AddImage() : Commit();
      if (status.ok()) return;
      slot_.reset();
      End(status);
    });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      End(StopStatus(*context_));
    } else if (response_.has_dataset()) {
      slot_.reset();
      End(absl::OkStatus());
    } else {
      Read();
    }
    Release();
  }

 private:
  // Reads the next message; a caller that sends none for `idle_timeout` loses the call and its slot.
  void Read() {
    Hold();  // given back by the alarm, which calls back when it rings and when it is cancelled
    idle_ = std::make_unique<grpc::Alarm>();
    idle_->Set(absl::ToChronoTime(absl::Now() + ingest_->idle_timeout), [this](bool rang) {
      if (rang)
        End(absl::DeadlineExceededError(absl::StrCat(
            "image: got none for ", absl::FormatDuration(ingest_->idle_timeout), ", want the next or the end")));
      Release();
    });
    StartRead(&request_);
  }

  absl::Status Begin(bool ok) {
    if (!ok || !request_.has_header())
      return absl::InvalidArgumentError("header: got none, want a header as first message");
    ASSIGN_OR_RETURN(builder_, NewBuilder(request_.header().dataset(), *ingest_));
    if (!request_.header().base_version().empty())
      RETURN_IF_ERROR(builder_->StartFrom(request_.header().base_version()));
    Read();
    return absl::OkStatus();
  }

  absl::Status AddImage() {
    if (!request_.has_image()) return absl::InvalidArgumentError("image: got a message without it, want one image");
    const v1::LabelledImage& image = request_.image();
    const std::string file_name = image.file_name().empty() ? absl::StrCat("image-", index_) : image.file_name();
    ASSIGN_OR_RETURN(const Split split, FromProto(image.split()));
    ASSIGN_OR_RETURN(const std::vector<std::string> labels, LabelsOf(image, builder_->multi_label()));
    ASSIGN_OR_RETURN(const DatasetBuilder::Verdict verdict, builder_->Add(image.data(), labels, split, file_name));
    *response_.mutable_verdict() = ToProto(verdict, index_++);
    Write();
    return absl::OkStatus();
  }

  absl::Status Commit() {
    if (context_->IsCancelled()) return StopStatus(*context_);
    ASSIGN_OR_RETURN(const IngestResult result, builder_->Commit());
    *response_.mutable_dataset() = ToProto(result.version);
    Write();
    return absl::OkStatus();
  }

  void Write() {
    Hold();  // given back in OnWriteDone()
    StartWrite(&response_);
  }

  const IngestContext* const ingest_;
  grpc::CallbackServerContext* const context_;
  // Steps come one after the other, each started by the end of the one before: what follows needs no lock.
  std::shared_ptr<void> slot_;
  v1::ImportImagesRequest request_;
  v1::ImportImagesResponse response_;
  std::unique_ptr<DatasetBuilder> builder_;
  int64_t index_ = 0;
  std::unique_ptr<grpc::Alarm> idle_;  // of the read under way
};

}  // namespace

grpc::ServerBidiReactor<v1::ImportImagesRequest, v1::ImportImagesResponse>* NewImportImages(
    const IngestContext* ingest, grpc::CallbackServerContext* context) {
  return new ImportImages(ingest, context);
}

}  // namespace graft
