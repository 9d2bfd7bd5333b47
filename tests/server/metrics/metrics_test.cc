#include "server/metrics/metrics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(MetricsTest, RpcIsCountedAndTimed) {
  Metrics metrics;
  metrics.CountRpc("/graft.v1.JobService/GetJob", "OK", absl::Milliseconds(3));
  metrics.CountRpc("/graft.v1.JobService/GetJob", "NOT_FOUND", absl::Seconds(120));
  const std::string text = metrics.Scrape();
  EXPECT_THAT(text,
              HasSubstr("graft_rpc_requests_total{code=\"NOT_FOUND\",method=\"/graft.v1.JobService/GetJob\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("graft_rpc_duration_seconds_count{method=\"/graft.v1.JobService/GetJob\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("method=\"/graft.v1.JobService/GetJob\",le=\"0.0025\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("method=\"/graft.v1.JobService/GetJob\",le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("method=\"/graft.v1.JobService/GetJob\",le=\"60\"} 1\n"));
}

TEST(MetricsTest, ClassifyIsCountedByModelAndVersion) {
  Metrics metrics;
  metrics.CountClassify("flowers/3", "OK", 8, absl::Milliseconds(20));
  metrics.CountClassify("flowers/3", "DEADLINE_EXCEEDED", 8, absl::Milliseconds(20));
  const std::string text = metrics.Scrape();
  EXPECT_THAT(text, HasSubstr("graft_classify_requests_total{code=\"DEADLINE_EXCEEDED\",model=\"flowers\","
                              "version=\"3\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("graft_classify_images_total{model=\"flowers\",version=\"3\"} 8\n"));
  EXPECT_THAT(text, HasSubstr("graft_classify_duration_seconds_count{model=\"flowers\",version=\"3\"} 1\n"));
}

TEST(MetricsTest, ABackboneIsOneModelWithoutAVersion) {
  Metrics metrics;
  metrics.CountClassify("backbone/mobilenet_v2", "OK", 3, absl::Milliseconds(20));
  EXPECT_THAT(metrics.Scrape(),
              HasSubstr("graft_classify_images_total{model=\"backbone/mobilenet_v2\",version=\"\"} 3\n"));
}

TEST(MetricsTest, LabelsAreBounded) {
  Metrics metrics;
  for (int i = 0; i < 1'500; ++i) metrics.CountClassify(absl::StrCat("m/", i), "OK", 1, absl::ZeroDuration());
  const std::string text = metrics.Scrape();
  EXPECT_THAT(text, HasSubstr("graft_classify_images_total{model=\"m\",version=\"999\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("version=\"1000\"")));
  EXPECT_THAT(text, HasSubstr("graft_classify_images_total{model=\"other\",version=\"\"} 500\n"));
}

TEST(MetricsTest, JobGaugesFollowTheNewestEpochAndGo) {
  Metrics metrics;
  metrics.SetJobEpoch("job-1", {0.5, 0.75, 0.6, 0.7, 1});
  metrics.SetJobEpoch("job-1", {0.25, 0.875, 0.5, 0.8125, 2});
  const std::string text = metrics.Scrape();
  EXPECT_THAT(text, HasSubstr("graft_job_train_loss{job=\"job-1\"} 0.25\n"));
  EXPECT_THAT(text, HasSubstr("graft_job_train_accuracy{job=\"job-1\"} 0.875\n"));
  EXPECT_THAT(text, HasSubstr("graft_job_val_loss{job=\"job-1\"} 0.5\n"));
  EXPECT_THAT(text, HasSubstr("graft_job_val_accuracy{job=\"job-1\"} 0.8125\n"));
  EXPECT_THAT(text, HasSubstr("graft_job_epoch{job=\"job-1\"} 2\n"));
  metrics.RemoveJob("job-1");
  metrics.RemoveJob("job-1");
  EXPECT_THAT(metrics.Scrape(), Not(HasSubstr("job-1")));
  EXPECT_THAT(metrics.Scrape(), HasSubstr("graft_epochs_total 2\n"));
}

TEST(MetricsTest, CollectorsRunBeforeEachScrape) {
  Metrics metrics;
  int scrapes = 0;
  metrics.OnScrape([&] { metrics.SetGauge({"graft_scrapes", "Times.", "", "", static_cast<double>(++scrapes)}); });
  metrics.Scrape();
  EXPECT_THAT(metrics.Scrape(), HasSubstr("# TYPE graft_scrapes gauge\ngraft_scrapes 2\n"));
}

TEST(MetricsTest, GaugeWithALabelHasOneSeriesForEachValue) {
  Metrics metrics;
  metrics.SetGauge({"graft_jobs", "Jobs.", "state", "queued", 3});
  metrics.SetGauge({"graft_jobs", "Jobs.", "state", "running", 1});
  metrics.SetGauge({"graft_jobs", "Jobs.", "state", "queued", 2});
  const std::string text = metrics.Scrape();
  EXPECT_THAT(text, HasSubstr("graft_jobs{state=\"queued\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("graft_jobs{state=\"running\"} 1\n"));
}

TEST(MetricsTest, CounterNeverGoesBack) {
  Metrics metrics;
  metrics.SetCounter({"graft_busy_seconds_total", "Busy.", "device", "cpu", 1.5});
  metrics.SetCounter({"graft_busy_seconds_total", "Busy.", "device", "cpu", 2.5});
  metrics.SetCounter({"graft_busy_seconds_total", "Busy.", "device", "cpu", 2.0});
  const std::string text = metrics.Scrape();
  EXPECT_THAT(text, HasSubstr("# TYPE graft_busy_seconds_total counter\n"));
  EXPECT_THAT(text, HasSubstr("graft_busy_seconds_total{device=\"cpu\"} 2.5\n"));
}

}  // namespace
}  // namespace graft
