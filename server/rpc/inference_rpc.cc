#include "server/rpc/inference_rpc.h"

#include <utility>

#include "absl/status/statusor.h"
#include "server/rpc/call_context.h"
#include "server/rpc/call_reactor.h"
#include "server/rpc/classify_stream.h"

namespace graft {
namespace {

class ClassifyCall : public CallReactor<grpc::ServerUnaryReactor> {
 public:
  ClassifyCall(const ClassifyContext* classify, grpc::CallbackServerContext* context,
               const v1::ClassifyRequest* request, v1::ClassifyResponse* response)
      : response_(response) {
    RunOn(classify->executor, [this, classify, context, request] {
      Hold();  // given back by the answer
      RunClassify(*classify, *request, Deadline(*context), cancel_,
                  [this](absl::StatusOr<v1::ClassifyResponse> answer) { Answer(std::move(answer)); });
    });
  }

  void OnCancel() override { cancel_.Stop(StopReason::kCancelled); }

 private:
  void Answer(absl::StatusOr<v1::ClassifyResponse> answer) {
    if (answer.ok()) *response_ = *std::move(answer);
    End(answer.status());
    Release();
  }

  v1::ClassifyResponse* const response_;
  CancelToken cancel_;
};

}  // namespace

grpc::ServerUnaryReactor* InferenceRpc::Classify(grpc::CallbackServerContext* context,
                                                 const v1::ClassifyRequest* request, v1::ClassifyResponse* response) {
  return new ClassifyCall(&classify_, context, request, response);
}

grpc::ServerBidiReactor<v1::ClassifyRequest, v1::ClassifyStreamResponse>* InferenceRpc::ClassifyStream(
    grpc::CallbackServerContext* context) {
  return NewClassifyStream(&classify_, context);
}

}  // namespace graft
