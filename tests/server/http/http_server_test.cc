#include "server/http/http_server.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "httplib.h"

namespace graft {
namespace {

class HttpServerTest : public testing::Test {
 protected:
  HttpServer::Options Options() {
    HttpServer::Options options;
    options.address = "127.0.0.1:0";
    options.metrics = [] { return std::string("graft_up 1\n"); };
    options.ready = [this] { return ready_ ? absl::OkStatus() : absl::UnavailableError("draining"); };
    return options;
  }
  static httplib::Result Get(const HttpServer& server, const std::string& path) {
    return httplib::Client("127.0.0.1", server.port()).Get(path);
  }

  std::atomic<bool> ready_{true};
};

TEST_F(HttpServerTest, MetricsAreServedInPrometheusFormat) {
  const auto server = HttpServer::Start(Options());
  ASSERT_TRUE(server.ok()) << server.status();
  const httplib::Result answer = Get(**server, "/metrics");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "graft_up 1\n");
  EXPECT_EQ(answer->get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
}

TEST_F(HttpServerTest, HealthIsOkWhileTheProcessLives) {
  ready_ = false;
  const auto server = HttpServer::Start(Options());
  ASSERT_TRUE(server.ok()) << server.status();
  const httplib::Result answer = Get(**server, "/healthz");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "ok\n");
}

TEST_F(HttpServerTest, ReadinessFollowsTheCallback) {
  const auto server = HttpServer::Start(Options());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Get(**server, "/readyz")->status, 200);
  ready_ = false;
  const httplib::Result answer = Get(**server, "/readyz");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->body, "draining\n");
}

TEST_F(HttpServerTest, OtherPathsAreNotFound) {
  const auto server = HttpServer::Start(Options());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Get(**server, "/")->status, 404);
}

TEST_F(HttpServerTest, AddressNamesTheBoundPort) {
  const auto server = HttpServer::Start(Options());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_GT((*server)->port(), 0);
  EXPECT_EQ((*server)->address(), "127.0.0.1:" + std::to_string((*server)->port()));
}

TEST_F(HttpServerTest, PortInUseIsFailedPrecondition) {
  const auto first = HttpServer::Start(Options());
  ASSERT_TRUE(first.ok()) << first.status();
  HttpServer::Options options = Options();
  options.address = (*first)->address();
  EXPECT_TRUE(absl::IsFailedPrecondition(HttpServer::Start(std::move(options)).status()));
}

TEST_F(HttpServerTest, ThreadsOutOfRangeAreInvalid) {
  HttpServer::Options options = Options();
  options.threads = 0;
  const absl::Status status = HttpServer::Start(std::move(options)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "threads: got 0, want 1 to 64");
}

TEST(ParseHostPortTest, TakesNamesAndBothFamilies) {
  EXPECT_EQ(ParseHostPort("x", "localhost:80")->host, "localhost");
  EXPECT_EQ(ParseHostPort("x", "0.0.0.0:65535")->port, 65535);
  EXPECT_EQ(ParseHostPort("x", "[::1]:0")->host, "::1");
}

TEST(ParseHostPortTest, MalformedIsInvalidAndNamesTheField) {
  for (const char* address : {"", "localhost", ":80", "localhost:", "localhost:http", "localhost:65536", "localhost:-1",
                              "::1:80", "[::1]", "[localhost]:80", "[]:80"}) {
    const absl::Status status = ParseHostPort("grpc-address", address).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << address;
    EXPECT_EQ(std::string(status.message()).rfind("grpc-address: got \"", 0), 0u) << status;
  }
}

}  // namespace
}  // namespace graft
