#include "server/rpc/classify_stream.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/rpc/call_context.h"
#include "server/rpc/call_reactor.h"
#include "server/rpc/status.h"

namespace graft {
namespace {

constexpr size_t kMaxInFlight = 4;  // enough to decode one request's pictures while another's are in the network

class ClassifyStream
    : public CallReactor<grpc::ServerBidiReactor<v1::ClassifyRequest, v1::ClassifyStreamResponse>> {
 public:
  ClassifyStream(const ClassifyContext* classify, grpc::CallbackServerContext* context)
      : classify_(classify), context_(context) {
    Advance();
  }

  void OnReadDone(bool ok) override {
    if (ok) Submit();
    {
      MutexLock lock(&mu_);
      reading_ = false;
      input_ended_ = !ok;
    }
    Advance();
  }

  void OnWriteDone(bool /*ok*/) override {  // after a failed write the reads fail too, and end the call
    {
      MutexLock lock(&mu_);
      writing_ = false;
    }
    Advance();
    Release();
  }

  void OnCancel() override { cancel_.Stop(StopReason::kCancelled); }

 private:
  struct Pending {
    v1::ClassifyStreamResponse response;
    bool ready = false;
  };

  void Submit() {
    const auto pending = std::make_shared<Pending>();
    {
      MutexLock lock(&mu_);
      pending->response.set_index(next_index_++);
      pending_.push_back(pending);
    }
    const auto done = [this, pending](absl::StatusOr<v1::ClassifyResponse> answer) {
      Answer(pending, std::move(answer));
    };
    Hold();  // given back in Answer()
    const auto request = std::make_shared<v1::ClassifyRequest>(std::move(request_));
    const bool accepted = classify_->executor->TryRun([this, request, done] {
      RunClassify(*classify_, std::move(*request), Deadline(*context_), cancel_, done);
    });
    if (!accepted) done(absl::ResourceExhaustedError("the server is busy: retry later"));
  }

  void Answer(const std::shared_ptr<Pending>& pending, absl::StatusOr<v1::ClassifyResponse> answer) {
    {
      MutexLock lock(&mu_);
      if (answer.ok()) {
        *pending->response.mutable_response() = *std::move(answer);
      } else {
        const grpc::Status status = ToGrpc(answer.status());
        pending->response.mutable_error()->set_code(static_cast<int>(status.error_code()));
        pending->response.mutable_error()->set_message(status.error_message());
      }
      pending->ready = true;
    }
    Advance();
    Release();
  }

  // Starts what can be started now. Whoever sets reading_ or writing_ owns request_ or written_ until the reaction.
  void Advance() {
    bool read = false, write = false, end = false;
    {
      MutexLock lock(&mu_);
      if (!writing_ && !pending_.empty() && pending_.front()->ready) {
        written_ = std::move(pending_.front()->response);
        pending_.pop_front();
        write = writing_ = true;
      }
      if (!reading_ && !input_ended_ && pending_.size() < kMaxInFlight) read = reading_ = true;
      end = input_ended_ && pending_.empty() && !writing_;
    }
    if (write) {
      Hold();  // given back in OnWriteDone()
      StartWrite(&written_);
    }
    if (read) StartRead(&request_);
    if (end) End(context_->IsCancelled() ? StopStatus(*context_) : absl::OkStatus());
  }

  const ClassifyContext* const classify_;
  grpc::CallbackServerContext* const context_;
  CancelToken cancel_;
  v1::ClassifyRequest request_;
  v1::ClassifyStreamResponse written_;
  Mutex mu_;
  std::deque<std::shared_ptr<Pending>> pending_ ABSL_GUARDED_BY(mu_);  // in the requests' order
  int64_t next_index_ ABSL_GUARDED_BY(mu_) = 0;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool input_ended_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

grpc::ServerBidiReactor<v1::ClassifyRequest, v1::ClassifyStreamResponse>* NewClassifyStream(
    const ClassifyContext* classify, grpc::CallbackServerContext* context) {
  return new ClassifyStream(classify, context);
}

}  // namespace graft
