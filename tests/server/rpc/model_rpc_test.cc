#include "server/rpc/model_rpc.h"

#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "graft/v1/system.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/server/rpc/rpc_fixture.h"
#include "tests/support/install_backbone.h"
#include "tests/support/script_file.h"
#include "tests/support/tiny_classifier.h"

namespace graft {
namespace {

class ModelRpcTest : public RpcTest {
 protected:
  ModelRpcTest() {
    StartServer();
    stub_ = Stub<v1::ModelService>();
  }

  // Makes the next version of "flowers".
  void AddVersion(CheckpointKind checkpoint = CheckpointKind::kOnly) {
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
    version.checkpoint = checkpoint;
    version.details_pb = details.SerializeAsString();
    version.evaluation_pb = evaluation.SerializeAsString();
    GRAFT_CHECK(job_store_->Finish(id, "worker", JobState::kSucceeded, "", {}, {version}).ok());
  }
  grpc::Status Get(v1::Model* model, const std::string& name = "flowers") {
    grpc::ClientContext context;
    v1::GetModelRequest request;
    request.set_name(name);
    return stub_->GetModel(&context, request, model);
  }
  v1::Backbone GetBackbone(const std::string& name) {
    grpc::ClientContext context;
    v1::ListBackbonesResponse response;
    EXPECT_TRUE(stub_->ListBackbones(&context, {}, &response).ok());
    for (v1::Backbone& backbone : *response.mutable_backbones()) {
      if (backbone.name() == name) return std::move(backbone);
    }
    ADD_FAILURE() << name << " is not listed";
    return {};
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
  EXPECT_EQ(newest.preprocessing().interpolation(), v1::INTERPOLATION_BILINEAR) << "stored before there was a choice";
  EXPECT_EQ(newest.evaluation().accuracy(), 0.75);
  EXPECT_EQ(newest.evaluation().classes_size(), 1);
  EXPECT_EQ(newest.evaluation().confusion_size(), 1);
  EXPECT_EQ(newest.backbone(), "resnet18");
  EXPECT_EQ(newest.checkpoint_bytes(), 1234);
  EXPECT_GT(newest.create_time().seconds(), 0);
  EXPECT_EQ(model.aliases().at("default"), 2);
}

TEST_F(ModelRpcTest, AVersionSaysWhichCheckpointItIs) {
  for (const CheckpointKind kind : {CheckpointKind::kOnly, CheckpointKind::kLast, CheckpointKind::kBest}) {
    AddVersion(kind);
  }
  v1::Model model;
  ASSERT_TRUE(Get(&model).ok());
  ASSERT_EQ(model.versions_size(), 3);
  EXPECT_EQ(model.versions(2).checkpoint(), v1::CHECKPOINT_KIND_UNSPECIFIED);
  EXPECT_EQ(model.versions(1).checkpoint(), v1::CHECKPOINT_KIND_LAST);
  EXPECT_EQ(model.versions(0).checkpoint(), v1::CHECKPOINT_KIND_BEST);
}

TEST_F(ModelRpcTest, UnknownModelIsNotFound) {
  v1::Model model;
  EXPECT_EQ(Get(&model).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelRpcTest, BackboneAsAModelHasOneVersionZero) {
  InstallWeights(TinyClassifierWeights(), directory_.path(), "insects");
  v1::Model model;
  ASSERT_TRUE(Get(&model, "backbone/insects").ok());
  EXPECT_EQ(model.name(), "backbone/insects");
  EXPECT_TRUE(model.aliases().empty());
  ASSERT_EQ(model.versions_size(), 1);
  const v1::ModelVersion& version = model.versions(0);
  EXPECT_EQ(version.version(), 0);
  EXPECT_EQ(version.backbone(), "insects");
  EXPECT_EQ(version.backbone_digest(), GetBackbone("insects").digest());
  EXPECT_THAT(version.classes(), testing::ElementsAre("ant", "bee", "cat"));
  EXPECT_EQ(version.preprocessing().crop_px(), 224);
  EXPECT_EQ(version.split_point(), 14);
  EXPECT_FALSE(version.has_evaluation());
  EXPECT_FALSE(version.has_create_time());
}

TEST_F(ModelRpcTest, BackboneAsAModelNeedsAClassifierOfItsOwn) {
  InstallTinyBackbone(directory_.path());
  v1::Model model;
  const grpc::Status status = Get(&model, "backbone/mobilenet_v3_small");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), testing::HasSubstr("no classifier of their own"));
  EXPECT_EQ(Get(&model, "backbone/mobilenet_v2").error_code(), grpc::StatusCode::NOT_FOUND);
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

TEST_F(ModelRpcTest, BackbonesThatAreNotInstalledAreDescribedByTheirArchitecture) {
  grpc::ClientContext context;
  v1::ListBackbonesResponse response;
  ASSERT_TRUE(stub_->ListBackbones(&context, {}, &response).ok());
  ASSERT_GT(response.backbones_size(), 0);
  for (const v1::Backbone& backbone : response.backbones()) {
    EXPECT_FALSE(backbone.installed());
    EXPECT_EQ(backbone.architecture(), backbone.name());
    EXPECT_NE(backbone.paper(), "") << backbone.name();
    EXPECT_GT(backbone.published_parameter_count(), 0) << backbone.name();
    EXPECT_GT(backbone.gflops(), 0) << backbone.name();
    EXPECT_GT(backbone.feature_width(), 0) << backbone.name();
    EXPECT_GT(backbone.stages_size(), 0) << backbone.name();
    EXPECT_GT(backbone.min_input_px(), 0) << backbone.name();
    EXPECT_GT(backbone.input_multiple_px(), 0) << backbone.name();
    EXPECT_GE(backbone.preprocessing().crop_px(), backbone.min_input_px()) << backbone.name();
    EXPECT_LE(backbone.preprocessing().crop_px(), backbone.max_input_px()) << backbone.name();
    EXPECT_EQ(backbone.class_count(), 0) << backbone.name();
  }
}

TEST_F(ModelRpcTest, InstalledBackboneTellsOfItsWeights) {
  InstallWeights(TinyClassifierWeights(), directory_.path(), "insects");
  const v1::Backbone backbone = GetBackbone("insects");
  EXPECT_TRUE(backbone.installed());
  EXPECT_EQ(backbone.architecture(), "mobilenet_v3_small");
  EXPECT_THAT(backbone.digest(), testing::StartsWith("sha256:"));
  EXPECT_EQ(backbone.class_count(), 3);
  EXPECT_TRUE(backbone.trainable());
  EXPECT_EQ(backbone.stages_size(), 14);
  ASSERT_EQ(backbone.stage_parameters_size(), 14);
  EXPECT_EQ(backbone.stage_parameters(13), 0) << "pooling";
  EXPECT_EQ(backbone.parameter_count(), 927'008) << "of the stages, without a classifier";
  EXPECT_EQ(backbone.preprocessing().interpolation(), v1::INTERPOLATION_BILINEAR);
}

TEST_F(ModelRpcTest, ScriptIsListedAsFrozenOnly) {
  InstallScript(directory_.path(), "mean_colour");
  const v1::Backbone backbone = GetBackbone("mean_colour");
  EXPECT_TRUE(backbone.installed());
  EXPECT_FALSE(backbone.trainable());
  EXPECT_EQ(backbone.feature_width(), 3);
  EXPECT_EQ(backbone.stages_size(), 1);
  EXPECT_EQ(backbone.source(), "a test");
}

TEST_F(ModelRpcTest, ArchitectureThatNeedsNoFileIsNotInstalledButHasADigest) {
  const v1::Backbone backbone = GetBackbone("small_convnet");
  EXPECT_FALSE(backbone.installed());
  EXPECT_EQ(backbone.digest(), "untrained:small_convnet");
}

TEST_F(ModelRpcTest, DamagedFileOfNoArchitectureHasAProblemOnly) {
  std::ofstream(directory_.path() + "/my-net.gguf") << "no tensors";
  const v1::Backbone backbone = GetBackbone("my-net");
  EXPECT_FALSE(backbone.installed());
  EXPECT_NE(backbone.problem(), "");
  EXPECT_EQ(backbone.architecture(), "");
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
