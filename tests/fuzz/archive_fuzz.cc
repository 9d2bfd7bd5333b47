// libFuzzer over ImportArchive: no input may crash it, hang it, or be believed to be whole when it is not.
//
// The first byte is the size of the pieces in which the rest arrives.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/ingest/archive_import.h"
#include "server/ingest/dataset_builder.h"
#include "server/store/dataset_store.h"
#include "tests/support/fake_blob_store.h"
#include "worker/base/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  graft::IngestLimits limits;
  limits.image.max_bytes = 1 << 20;
  limits.image.max_pixels = 1 << 20;
  limits.max_images = 1000;
  limits.max_total_bytes = 64 << 20;
  graft::FakeBlobStore blobs;
  graft::DatasetStore datasets(nullptr);  // used by Commit() alone
  auto builder = graft::DatasetBuilder::Create({"fuzz", {}, std::nullopt}, limits, &blobs, &datasets);
  GRAFT_CHECK(builder.ok());
  absl::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t piece_bytes = size_t{1} + data[0] * size_t{16};
  const auto source = [&]() -> absl::StatusOr<std::string> {
    std::string piece(rest.substr(0, piece_bytes));
    rest.remove_prefix(piece.size());
    return piece;
  };
  const absl::Status status = graft::ImportArchive(source, limits, builder->get());
  GRAFT_CHECK(status.ok() || absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status));
  GRAFT_CHECK(!status.ok() || rest.empty());
  return 0;
}
