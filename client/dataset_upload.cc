// The streaming calls of DatasetService.
#include <grpcpp/support/sync_stream.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/folder_tar.h"
#include "client/stubs.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// What UploadDataset sends: a folder's files, or one archive.
struct UploadSource {
  std::string path;
  std::vector<FolderFile> files;  // of a folder
  bool is_folder = false;
  int64_t total_bytes = 0;
};

absl::StatusOr<UploadSource> OpenSource(const std::string& path, const UploadObserver& observer) {
  UploadSource source;
  source.path = path;
  std::error_code error;
  source.is_folder = std::filesystem::is_directory(path, error);
  if (source.is_folder) {
    ASSIGN_OR_RETURN(source.files, ListFolder(path, observer.warning));
    for (const FolderFile& file : source.files) source.total_bytes += file.bytes;
    return source;
  }
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) return absl::ErrnoToStatus(error.value(), path);
  if (bytes == 0) return absl::InvalidArgumentError(absl::StrCat(path, ": got an empty file, want an archive"));
  source.total_bytes = static_cast<int64_t>(bytes);
  return source;
}

absl::Status SendSource(const UploadSource& source, const UploadObserver& observer, const ChunkSink& sink) {
  const auto written = [&](int64_t bytes) {
    if (observer.progress) observer.progress(bytes, source.total_bytes);
  };
  return source.is_folder ? WriteTar(source.files, sink, written) : WriteFile(source.path, sink, written);
}

// Pictures sent whose verdict has not been read. Verdicts are small: these cannot fill a flow-control window, so that
// writing before reading never locks up.
constexpr int kImagesInFlight = 32;

using ImportStream = grpc::ClientReaderWriterInterface<v1::ImportImagesRequest, v1::ImportImagesResponse>;

// Reads one answer: a verdict is passed on, the dataset is kept. False at the end of the stream.
bool ReadAnswer(ImportStream* stream, const Client::VerdictCallback& on_verdict, v1::Dataset* dataset) {
  v1::ImportImagesResponse response;
  if (!stream->Read(&response)) return false;
  if (response.has_dataset()) *dataset = std::move(*response.mutable_dataset());
  if (response.has_verdict() && on_verdict) on_verdict(response.verdict());
  return true;
}

// Sends every picture, reading verdicts behind. A stream that broke is left to Finish().
absl::Status SendImages(ImportStream* stream, const Client::ImageSource& next,
                        const Client::VerdictCallback& on_verdict, v1::Dataset* dataset) {
  for (int in_flight = 0;; ++in_flight) {
    v1::ImportImagesRequest request;
    ASSIGN_OR_RETURN(const bool more, next(request.mutable_image()));
    if (!more || !stream->Write(request)) return absl::OkStatus();
    if (in_flight < kImagesInFlight) continue;
    if (!ReadAnswer(stream, on_verdict, dataset)) return absl::OkStatus();
    --in_flight;
  }
}

}  // namespace

absl::StatusOr<v1::UploadDatasetResponse> Client::UploadDataset(const std::string& path,
                                                                const v1::DatasetHeader& header,
                                                                const UploadObserver& observer) {
  ASSIGN_OR_RETURN(const UploadSource source, OpenSource(path, observer));
  grpc::ClientContext context;
  v1::UploadDatasetResponse response;
  const auto stream = stubs_->datasets.UploadDataset(&context, &response);
  v1::UploadDatasetRequest request;
  *request.mutable_header() = header;
  bool connected = stream->Write(request);
  absl::Status sent;
  if (connected) {
    sent = SendSource(source, observer, [&](const char* data, size_t size) {
      request.set_chunk(data, size);
      return connected = stream->Write(request);
    });
  }
  // When the server ended the call, its status is the reason, and ours only says that writing stopped.
  if (connected && !sent.ok()) {
    context.TryCancel();
    stream->Finish();
    return sent;
  }
  stream->WritesDone();
  RETURN_IF_ERROR(FromGrpc(stream->Finish()));
  return response;
}

absl::StatusOr<v1::Dataset> Client::ImportImages(const v1::ImportHeader& header, const ImageSource& next,
                                                 const VerdictCallback& on_verdict) {
  grpc::ClientContext context;
  const auto stream = stubs_->datasets.ImportImages(&context);
  v1::ImportImagesRequest request;
  *request.mutable_header() = header;
  v1::Dataset dataset;
  if (stream->Write(request)) {
    const absl::Status sent = SendImages(stream.get(), next, on_verdict, &dataset);
    if (!sent.ok()) {
      context.TryCancel();
      stream->Finish();
      return sent;
    }
  }
  stream->WritesDone();
  while (ReadAnswer(stream.get(), on_verdict, &dataset)) {
  }
  RETURN_IF_ERROR(FromGrpc(stream->Finish()));
  if (dataset.version().empty()) return absl::InternalError("the server ended the import without naming a dataset");
  return dataset;
}

}  // namespace graft
