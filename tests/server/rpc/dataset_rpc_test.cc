#include "server/rpc/dataset_rpc.h"

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/ingest/test_archives.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace graft {
namespace {

using testing::HasSubstr;

std::string FlowersArchive(Packing packing, int pictures) {
  std::vector<TestEntry> entries;
  for (int i = 0; i < pictures; ++i)
    entries.push_back({absl::StrCat(i % 2 == 0 ? "daisy/" : "rose/", i, ".bmp"), Bmp(static_cast<uint32_t>(i))});
  return Pack(packing, entries);
}

// On both transports, whose ends of streams differ. The parameter: over a socket.
class DatasetRpcTest : public RpcTest, public testing::WithParamInterface<bool> {
 protected:
  void StartServer() {
    RpcTest::StartServer();
    if (GetParam()) UseNetwork();
    stub_ = Stub<v1::DatasetService>();
  }

  // One call that stays open until Finish().
  struct Upload {
    grpc::ClientContext context;
    v1::UploadDatasetResponse response;
    std::unique_ptr<grpc::ClientWriter<v1::UploadDatasetRequest>> writer;

    bool SendHeader(const std::string& name) {
      v1::UploadDatasetRequest request;
      request.mutable_header()->set_name(name);
      return writer->Write(request);
    }
    bool SendChunk(const std::string& bytes) {
      v1::UploadDatasetRequest request;
      request.set_chunk(bytes);
      return writer->Write(request);
    }
    grpc::Status Finish() {
      writer->WritesDone();
      return writer->Finish();
    }
  };
  std::unique_ptr<Upload> StartUpload() {
    auto upload = std::make_unique<Upload>();
    upload->writer = stub_->UploadDataset(&upload->context, &upload->response);
    return upload;
  }
  grpc::Status UploadAll(const std::string& archive, size_t chunk_bytes, v1::UploadDatasetResponse* response) {
    const auto upload = StartUpload();
    upload->SendHeader("flowers");
    for (size_t pos = 0; pos < archive.size(); pos += chunk_bytes) upload->SendChunk(archive.substr(pos, chunk_bytes));
    const grpc::Status status = upload->Finish();
    *response = upload->response;
    return status;
  }

  struct Import {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<v1::ImportImagesRequest, v1::ImportImagesResponse>> stream;

    void SendHeader(const std::string& name, const std::string& base_version) {
      v1::ImportImagesRequest request;
      request.mutable_header()->mutable_dataset()->set_name(name);
      request.mutable_header()->set_base_version(base_version);
      stream->Write(request);
    }
    void SendImage(const std::string& data, const std::string& label) {
      v1::ImportImagesRequest request;
      request.mutable_image()->set_data(data);
      request.mutable_image()->set_label(label);
      stream->Write(request);
    }
  };
  std::unique_ptr<Import> StartMultiLabelImport(const std::string& base_version) {
    auto import = StartImport();
    v1::ImportImagesRequest request;
    request.mutable_header()->mutable_dataset()->set_name("flowers");
    request.mutable_header()->mutable_dataset()->set_multi_label(true);
    request.mutable_header()->set_base_version(base_version);
    import->stream->Write(request);
    return import;
  }
  // Sends one picture and returns its verdict.
  v1::ImageVerdict AddLabelled(Import& import, uint32_t seed, const std::vector<std::string>& labels) {
    v1::ImportImagesRequest request;
    request.mutable_image()->set_data(Bmp(seed));
    request.mutable_image()->mutable_labels()->Add(labels.begin(), labels.end());
    import.stream->Write(request);
    v1::ImportImagesResponse response;
    EXPECT_TRUE(import.stream->Read(&response));
    return response.verdict();
  }
  v1::Dataset CommitImport(Import& import) {
    import.stream->WritesDone();
    v1::ImportImagesResponse response;
    while (import.stream->Read(&response)) {
    }
    const grpc::Status status = import.stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.dataset();
  }
  std::unique_ptr<Import> StartImport() {
    auto import = std::make_unique<Import>();
    import->stream = stub_->ImportImages(&import->context);
    return import;
  }

  size_t StoredDatasets() {
    auto page = datasets_->List({});
    GRAFT_CHECK(page.ok());
    return page->items.size();
  }

  std::unique_ptr<v1::DatasetService::Stub> stub_;
};

TEST_P(DatasetRpcTest, UploadInManySmallChunksIsOneVersion) {
  StartServer();
  v1::UploadDatasetResponse response;
  const grpc::Status status = UploadAll(FlowersArchive(Packing::kZip, 40), 97, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.dataset().name(), "flowers");
  EXPECT_EQ(response.dataset().image_count(), 40);
  ASSERT_EQ(response.dataset().classes_size(), 2);
  EXPECT_EQ(response.dataset().classes(0).name(), "daisy");
  EXPECT_EQ(response.dataset().classes(0).train_count() + response.dataset().classes(0).validation_count(), 20);
  EXPECT_EQ(datasets_->Get("flowers", "")->version, response.dataset().version());
}

TEST_P(DatasetRpcTest, UploadReportsWhatItLeftOut) {
  StartServer();
  v1::UploadDatasetResponse response;
  const std::string archive =
      Pack(Packing::kTarGz, {{"a/1.bmp", Bmp(1)}, {"a/2.bmp", Bmp(2)}, {"a/3.jpg", "no picture"},
                             {"b/4.bmp", Bmp(4)}, {"b/5.bmp", Bmp(5)}, {"b/6.bmp", Bmp(4)}});
  const grpc::Status status = UploadAll(archive, 1 << 20, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.rejected_count(), 1);
  ASSERT_EQ(response.rejected_size(), 1);
  EXPECT_EQ(response.rejected(0).file_name(), "a/3.jpg");
  EXPECT_EQ(response.duplicate_count(), 1);
}

TEST_P(DatasetRpcTest, UploadWithoutHeaderIsInvalid) {
  StartServer();
  const auto upload = StartUpload();
  upload->SendChunk("bytes");
  const grpc::Status status = upload->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), testing::ElementsAre("header"));
  const grpc::Status empty = StartUpload()->Finish();
  EXPECT_EQ(empty.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_P(DatasetRpcTest, SecondHeaderIsInvalid) {
  StartServer();
  const auto upload = StartUpload();
  upload->SendHeader("flowers");
  upload->SendHeader("flowers");
  EXPECT_THAT(upload->Finish().error_message(), HasSubstr("header: got a second one"));
}

TEST_P(DatasetRpcTest, OversizeAndEmptyChunksAreInvalid) {
  StartServer();
  for (const int bytes : {3 << 20, 0}) {
    const auto upload = StartUpload();
    upload->SendHeader("flowers");
    upload->SendChunk(std::string(static_cast<size_t>(bytes), 'x'));
    const grpc::Status status = upload->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(status.error_message(), absl::StrCat("chunk: got ", bytes, " bytes, want 1 to 2097152"));
    EXPECT_THAT(ViolatedFields(status), testing::ElementsAre("chunk"));
  }
}

TEST_P(DatasetRpcTest, BadNameEndsTheUploadWhileChunksCome) {
  StartServer();
  const auto upload = StartUpload();
  upload->SendHeader("Bad Name");
  while (upload->SendChunk(std::string(64 << 10, 'x'))) {
  }
  const grpc::Status status = upload->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), testing::ElementsAre("name"));
}

TEST_P(DatasetRpcTest, TruncatedArchiveCommitsNothing) {
  StartServer();
  const std::string archive = FlowersArchive(Packing::kZip, 40);
  v1::UploadDatasetResponse response;
  EXPECT_EQ(UploadAll(archive.substr(0, archive.size() / 2), 1000, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(StoredDatasets(), 0u);
}

TEST_P(DatasetRpcTest, CancelledUploadCommitsNothing) {
  StartServer();
  const std::string archive = FlowersArchive(Packing::kTar, 20);
  const auto upload = StartUpload();
  upload->SendHeader("flowers");
  upload->SendChunk(archive);  // whole: only the half-close is missing
  while (blobs_.puts() < 10) std::this_thread::yield();
  upload->context.TryCancel();
  EXPECT_EQ(upload->Finish().error_code(), grpc::StatusCode::CANCELLED);
  StopServer();
  EXPECT_EQ(StoredDatasets(), 0u);
  EXPECT_THAT(metrics_.Scrape(), HasSubstr("code=\"CANCELLED\",method=\"graft.v1.DatasetService/UploadDataset\"} 1"));
}

TEST_P(DatasetRpcTest, OneUploadMoreThanSlotsIsRefused) {
  options_.limits.max_concurrent_uploads = 1;
  StartServer();
  const auto a = StartUpload(), b = StartUpload();
  a->SendHeader("a");
  b->SendHeader("b");
  // Which of the two got the slot is open; the other one ends first, by itself.
  std::promise<grpc::StatusCode> first;
  std::atomic<bool> ended{false};
  const auto finish = [&](Upload* upload) {
    const grpc::StatusCode code = upload->writer->Finish().error_code();
    if (!ended.exchange(true)) first.set_value(code);
  };
  std::thread thread_a(finish, a.get()), thread_b(finish, b.get());
  EXPECT_EQ(first.get_future().get(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  a->context.TryCancel();
  b->context.TryCancel();
  thread_a.join();
  thread_b.join();
}

TEST_P(DatasetRpcTest, UploadsOneAfterTheOtherReuseTheSlot) {
  options_.limits.max_concurrent_uploads = 1;
  StartServer();
  for (int i = 0; i < 5; ++i) {
    v1::UploadDatasetResponse response;
    EXPECT_TRUE(UploadAll(FlowersArchive(Packing::kZip, 20), 1000, &response).ok());
  }
}

TEST_P(DatasetRpcTest, SilentUploadIsEnded) {
  options_.upload_idle_timeout = absl::Milliseconds(1);
  StartServer();
  const auto upload = StartUpload();
  upload->SendHeader("flowers");
  EXPECT_EQ(upload->writer->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_P(DatasetRpcTest, SilentImportIsEnded) {
  options_.upload_idle_timeout = absl::Milliseconds(1);
  StartServer();
  EXPECT_EQ(StartImport()->stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_P(DatasetRpcTest, ShutdownWithoutGraceEndsUploads) {
  StartServer();
  const auto upload = StartUpload();
  upload->SendHeader("flowers");
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_FALSE(upload->Finish().ok());
  EXPECT_EQ(StoredDatasets(), 0u);
}

TEST_P(DatasetRpcTest, ImportGivesOneVerdictForEachPictureInOrder) {
  StartServer();
  const auto import = StartImport();
  import->SendHeader("flowers", "");
  // Beside the reads: the in-process transport holds one message, so that a caller who only writes stops the server.
  std::thread sender([&] {
    for (uint32_t i = 0; i < 20; ++i)
      import->SendImage(i % 5 == 3 ? "no picture" : Bmp(i), i % 2 == 0 ? "daisy" : "rose");
    import->stream->WritesDone();
  });
  v1::ImportImagesResponse response;
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(import->stream->Read(&response));
    EXPECT_EQ(response.verdict().index(), i);
    EXPECT_EQ(response.verdict().accepted(), i % 5 != 3);
    EXPECT_EQ(response.verdict().reason().empty(), i % 5 != 3);
  }
  sender.join();
  ASSERT_TRUE(import->stream->Read(&response));
  EXPECT_EQ(response.dataset().image_count(), 16);
  EXPECT_FALSE(import->stream->Read(&response));
  EXPECT_TRUE(import->stream->Finish().ok());
}

TEST_P(DatasetRpcTest, ImportAddsToABaseVersion) {
  StartServer();
  v1::UploadDatasetResponse uploaded;
  ASSERT_TRUE(UploadAll(FlowersArchive(Packing::kZip, 20), 1000, &uploaded).ok());
  const auto import = StartImport();
  import->SendHeader("flowers", "latest");
  v1::ImportImagesResponse response;
  for (const uint32_t seed : {1000, 1001}) {
    import->SendImage(Bmp(seed), "tulip");
    ASSERT_TRUE(import->stream->Read(&response));
  }
  import->stream->WritesDone();
  while (import->stream->Read(&response)) {
  }
  ASSERT_TRUE(import->stream->Finish().ok());
  EXPECT_EQ(response.dataset().image_count(), 22);
  EXPECT_EQ(response.dataset().classes_size(), 3);
}

TEST_P(DatasetRpcTest, ImportOfUnknownBaseVersionIsNotFound) {
  StartServer();
  const auto import = StartImport();
  import->SendHeader("flowers", "latest");
  v1::ImportImagesResponse response;
  EXPECT_FALSE(import->stream->Read(&response));
  EXPECT_EQ(import->stream->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_P(DatasetRpcTest, ImportNeedsAHeaderAndThenPictures) {
  StartServer();
  v1::ImportImagesResponse response;
  const auto headless = StartImport();
  headless->SendImage(Bmp(1), "daisy");
  EXPECT_FALSE(headless->stream->Read(&response));
  EXPECT_THAT(ViolatedFields(headless->stream->Finish()), testing::ElementsAre("header"));
  const auto twice = StartImport();
  twice->SendHeader("flowers", "");
  twice->SendHeader("flowers", "");
  EXPECT_FALSE(twice->stream->Read(&response));
  EXPECT_THAT(ViolatedFields(twice->stream->Finish()), testing::ElementsAre("image"));
}

TEST_P(DatasetRpcTest, MultiLabelUploadSaysSo) {
  StartServer();
  const std::string archive =
      Pack(Packing::kZip, {{"manifest.csv", "path,labels,split\n1,a|b,train\n2,,val\n3,b,test\n"},
                           {"1", Bmp(1)}, {"2", Bmp(2)}, {"3", Bmp(3)}});
  v1::UploadDatasetResponse response;
  const grpc::Status status = UploadAll(archive, 1 << 20, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(response.dataset().multi_label());
  EXPECT_EQ(response.dataset().train_count(), 1);
  EXPECT_EQ(response.dataset().validation_count(), 1);
  EXPECT_EQ(response.dataset().test_count(), 1);
  ASSERT_EQ(response.dataset().classes_size(), 2);
  EXPECT_EQ(response.dataset().classes(1).train_count(), 1);
  EXPECT_EQ(response.dataset().classes(1).test_count(), 1);
}

TEST_P(DatasetRpcTest, HeaderThatDeniesTheManifestsLabelsIsInvalid) {
  StartServer();
  const auto upload = StartUpload();
  v1::UploadDatasetRequest request;
  request.mutable_header()->set_name("flowers");
  request.mutable_header()->set_multi_label(false);
  upload->writer->Write(request);
  upload->SendChunk(Pack(Packing::kZip, {{"manifest.csv", "path,labels\n1,a\n"}, {"1", Bmp(1)}}));
  const grpc::Status status = upload->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), testing::ElementsAre("multi_label"));
}

TEST_P(DatasetRpcTest, MultiLabelImportJoinsTheClassesOfTheSameBytes) {
  StartServer();
  const auto import = StartMultiLabelImport("");
  EXPECT_TRUE(AddLabelled(*import, 1, {"rose"}).accepted());
  EXPECT_TRUE(AddLabelled(*import, 2, {"rose", "daisy"}).accepted());
  EXPECT_TRUE(AddLabelled(*import, 3, {}).accepted());
  const v1::ImageVerdict again = AddLabelled(*import, 1, {"daisy"});
  EXPECT_TRUE(again.accepted());
  EXPECT_TRUE(again.duplicate());
  const v1::Dataset dataset = CommitImport(*import);
  EXPECT_TRUE(dataset.multi_label());
  EXPECT_EQ(dataset.image_count(), 3);
  ASSERT_EQ(dataset.classes_size(), 2);
  for (const v1::ClassCount& count : dataset.classes())
    EXPECT_EQ(count.train_count() + count.validation_count(), 2) << count.name();

  const auto more = StartMultiLabelImport("latest");
  AddLabelled(*more, 3, {"tulip"});
  EXPECT_EQ(CommitImport(*more).classes_size(), 3);
}

TEST_P(DatasetRpcTest, LabelsOfTheOtherKindEndTheImport) {
  StartServer();
  v1::ImportImagesRequest labels, label;
  labels.mutable_image()->set_data(Bmp(1));
  labels.mutable_image()->add_labels("rose");
  label.mutable_image()->set_data(Bmp(1));
  label.mutable_image()->set_label("rose");
  v1::ImportImagesResponse response;
  const auto single = StartImport();
  single->SendHeader("flowers", "");
  single->stream->Write(labels);
  EXPECT_FALSE(single->stream->Read(&response));
  EXPECT_EQ(single->stream->Finish().error_message(),
            "labels: got 1, want label: the dataset is single-label, multi_label makes another");
  const auto multi = StartMultiLabelImport("");
  multi->stream->Write(label);
  EXPECT_FALSE(multi->stream->Read(&response));
  EXPECT_EQ(multi->stream->Finish().error_message(),
            "label: got \"rose\", want labels: the dataset is multi-label");
}

TEST_P(DatasetRpcTest, MultiLabelImportIntoASingleLabelVersionIsInvalid) {
  StartServer();
  v1::UploadDatasetResponse uploaded;
  ASSERT_TRUE(UploadAll(FlowersArchive(Packing::kZip, 20), 1000, &uploaded).ok());
  EXPECT_FALSE(uploaded.dataset().multi_label());
  const auto import = StartMultiLabelImport("latest");
  v1::ImportImagesResponse response;
  EXPECT_FALSE(import->stream->Read(&response));
  const grpc::Status status = import->stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), testing::ElementsAre("multi_label"));
}

TEST_P(DatasetRpcTest, ImportThatBreaksOffCommitsNothing) {
  StartServer();
  const auto import = StartImport();
  import->SendHeader("flowers", "");
  v1::ImportImagesResponse response;
  for (uint32_t i = 0; i < 8; ++i) {
    import->SendImage(Bmp(i), i % 2 == 0 ? "daisy" : "rose");
    ASSERT_TRUE(import->stream->Read(&response));
  }
  import->context.TryCancel();
  EXPECT_EQ(import->stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  StopServer();
  EXPECT_EQ(StoredDatasets(), 0u);
}

TEST_P(DatasetRpcTest, GetListAndDelete) {
  StartServer();
  v1::UploadDatasetResponse uploaded;
  ASSERT_TRUE(UploadAll(FlowersArchive(Packing::kZip, 20), 1000, &uploaded).ok());
  {
    grpc::ClientContext context;
    v1::GetDatasetRequest request;
    request.set_name("flowers");
    v1::Dataset dataset;
    ASSERT_TRUE(stub_->GetDataset(&context, request, &dataset).ok());
    EXPECT_EQ(dataset.SerializeAsString(), uploaded.dataset().SerializeAsString());
    EXPECT_GT(dataset.create_time().seconds(), 0);
  }
  {
    grpc::ClientContext context;
    v1::ListDatasetsResponse list;
    ASSERT_TRUE(stub_->ListDatasets(&context, {}, &list).ok());
    EXPECT_EQ(list.datasets_size(), 1);
  }
  {
    grpc::ClientContext context;
    v1::DeleteDatasetRequest request;
    request.set_name("flowers");
    v1::DeleteDatasetResponse response;
    EXPECT_TRUE(stub_->DeleteDataset(&context, request, &response).ok());
    EXPECT_EQ(StoredDatasets(), 0u);
    grpc::ClientContext again;
    EXPECT_EQ(stub_->DeleteDataset(&again, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  }
}

TEST_P(DatasetRpcTest, PageSizeIsChecked) {
  StartServer();
  grpc::ClientContext context;
  v1::ListDatasetsRequest request;
  request.set_page_size(1001);
  v1::ListDatasetsResponse response;
  EXPECT_THAT(ViolatedFields(stub_->ListDatasets(&context, request, &response)), testing::ElementsAre("page_size"));
}

INSTANTIATE_TEST_SUITE_P(Transports, DatasetRpcTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Socket" : "InProcess"; });

}  // namespace
}  // namespace graft
