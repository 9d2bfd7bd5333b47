#include "worker/image/opencv_adapter.h"

#include <exception>
#include <new>

#include <opencv2/core.hpp>

#include "absl/strings/str_cat.h"

namespace graft {

absl::Status TryOpenCv(absl::string_view what, const std::function<void()>& fn) {
  try {
    fn();
    return absl::OkStatus();
  } catch (const cv::Exception& e) {
    if (e.code == cv::Error::StsNoMem) return absl::ResourceExhaustedError("image: out of memory");
    return absl::InvalidArgumentError(absl::StrCat("image: cannot ", what, ": ", e.err));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("image: out of memory");
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("image: cannot ", what, ": ", e.what()));
  }
}

}  // namespace graft
