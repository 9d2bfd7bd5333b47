#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace graft {

// SHA-256 (FIPS 180-4) of bytes that come in pieces.
//
// Threads: one at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(absl::string_view bytes);
  // "sha256:" and 64 hex digits; once.
  std::string Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace graft
