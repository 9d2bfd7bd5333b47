#include "server/rpc/model_rpc.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "graft/v1/system.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace graft {
namespace {

class ModelRpcTest : public RpcTest {
 protected:
  ModelRpcTest() {
    StartServer();
    stub_ = Stub<v1::ModelService>();
  }

  // Makes the next version of "flowers".
  void AddVersion() {
    const std::string id = QueueJob();
    GRAFT_CHECK(job_store_->Lease("worker").ok());
    v1::ModelVersion details;
    details.add_classes("daisy");
    details.mutable_preprocessing()->set_crop_px(224);
    v1::Evaluation evaluation;
    evaluation.set_accuracy(0.75);
    evaluation.add_classes()->set_name("daisy");
    evaluation.add_confusion(4);
    ModelVersionRecord version;
    version.model = "flowers";
    version.backbone = "resnet18";
    version.checkpoint_digest = "sha256:c";
    version.checkpoint_bytes = 1234;
    version.details_pb = details.SerializeAsString();
    version.evaluation_pb = evaluation.SerializeAsString();
    GRAFT_CHECK(job_store_->Finish(id, "worker", JobState::kSucceeded, "", {}, version).ok());
  }
  grpc::Status Get(v1::Model* model) {
    grpc::ClientContext context;
    v1::GetModelRequest request;
    request.set_name("flowers");
    return stub_->GetModel(&context, request, model);
  }
  grpc::Status SetAlias(const std::string& alias, int64_t version, v1::Model* model) {
    grpc::ClientContext context;
    v1::SetAliasRequest request;
    request.set_name("flowers");
    request.set_alias(alias);
    request.set_version(version);
    return stub_->SetAlias(&context, request, model);
  }

  std::unique_ptr<v1::ModelService::Stub> stub_;
};

TEST_F(ModelRpcTest, GetTellsWhatWasStored) {
  AddVersion();
  AddVersion();
  v1::Model model;
  ASSERT_TRUE(Get(&model).ok());
  ASSERT_EQ(model.versions_size(), 2);
  const v1::ModelVersion& newest = model.versions(0);
  EXPECT_EQ(newest.version(), 2);
  EXPECT_EQ(newest.classes(0), "daisy");
  EXPECT_EQ(newest.preprocessing().crop_px(), 224);
  EXPECT_EQ(newest.evaluation().accuracy(), 0.75);
  EXPECT_EQ(newest.evaluation().classes_size(), 1);
  EXPECT_EQ(newest.evaluation().confusion_size(), 1);
  EXPECT_EQ(newest.backbone(), "resnet18");
  EXPECT_EQ(newest.checkpoint_bytes(), 1234);
  EXPECT_GT(newest.create_time().seconds(), 0);
  EXPECT_EQ(model.aliases().at("default"), 2);
}

TEST_F(ModelRpcTest, UnknownModelIsNotFound) {
  v1::Model model;
  EXPECT_EQ(Get(&model).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelRpcTest, AliasProtectsItsVersion) {
  AddVersion();
  AddVersion();
  v1::Model model;
  ASSERT_TRUE(SetAlias("stable", 1, &model).ok());
  EXPECT_EQ(model.aliases().at("stable"), 1);
  v1::DeleteModelVersionRequest request;
  request.set_name("flowers");
  request.set_version(1);
  grpc::ClientContext refused, accepted;
  EXPECT_EQ(stub_->DeleteModelVersion(&refused, request, &model).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  ASSERT_TRUE(SetAlias("stable", 0, &model).ok());
  ASSERT_TRUE(stub_->DeleteModelVersion(&accepted, request, &model).ok());
  EXPECT_EQ(model.versions_size(), 1);
}

TEST_F(ModelRpcTest, SetAliasTellsAllViolationsAtOnce) {
  v1::Model model;
  EXPECT_THAT(ViolatedFields(SetAlias("3", -1, &model)), testing::ElementsAre("alias", "version"));
}

TEST_F(ModelRpcTest, ListLeavesOutWhatGrowsWithTheClasses) {
  AddVersion();
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(stub_->ListModels(&context, {}, &response).ok());
  ASSERT_EQ(response.models_size(), 1);
  const v1::Evaluation& evaluation = response.models(0).versions(0).evaluation();
  EXPECT_EQ(evaluation.accuracy(), 0.75);
  EXPECT_EQ(evaluation.classes_size(), 0);
  EXPECT_EQ(evaluation.confusion_size(), 0);
}

TEST_F(ModelRpcTest, ListIsPaged) {
  AddVersion();
  grpc::ClientContext context;
  v1::ListModelsRequest request;
  request.set_page_size(1);
  v1::ListModelsResponse response;
  ASSERT_TRUE(stub_->ListModels(&context, request, &response).ok());
  ASSERT_EQ(response.models_size(), 1);
  EXPECT_EQ(response.next_page_token(), "");
}

TEST_F(ModelRpcTest, BackbonesThatAreNotInstalledAreListed) {
  grpc::ClientContext context;
  v1::ListBackbonesResponse response;
  ASSERT_TRUE(stub_->ListBackbones(&context, {}, &response).ok());
  ASSERT_GT(response.backbones_size(), 0);
  for (const v1::Backbone& backbone : response.backbones()) {
    EXPECT_NE(backbone.name(), "");
    EXPECT_FALSE(backbone.installed());
  }
}

TEST_F(ModelRpcTest, ServerInfoTellsTheLimits) {
  grpc::ClientContext context;
  v1::ServerInfo info;
  ASSERT_TRUE(Stub<v1::SystemService>()->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.limits().max_chunk_bytes(), 2 << 20);
  EXPECT_EQ(info.limits().max_image_bytes(), 32 << 20);
  EXPECT_EQ(info.limits().max_images_per_request(), 64);
}

}  // namespace
}  // namespace graft
