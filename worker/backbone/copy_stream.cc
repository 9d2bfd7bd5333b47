#include "worker/backbone/copy_stream.h"

#include <map>

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "worker/base/mutex.h"

namespace graft {
namespace {

c10::Stream CopyStream(at::Device device) {
  static Mutex mu;
  static std::map<int, c10::Stream> streams;
  MutexLock lock(&mu);
  const auto found = streams.find(device.index());
  if (found != streams.end()) return found->second;
  const c10::impl::VirtualGuardImpl guard(device.type());
  return streams.emplace(device.index(), guard.getStreamFromGlobalPool(device)).first->second;
}

}  // namespace

at::Tensor ToDevice(const at::Tensor& x, at::Device device) {
  if (!device.is_cuda() || !x.is_cpu() || !x.is_pinned()) return x.to(device);
  const c10::Stream copies = CopyStream(device);
  const c10::Stream computes = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  at::Tensor y;
  {
    const c10::StreamGuard scope(copies);
    y = x.to(device, /*non_blocking=*/true);  // the pinned memory is kept until the copy is done
  }
  c10::Event copied(device.type());
  copied.record(copies);
  copied.block(computes);
  y.record_stream(computes);  // allocated on the copy stream, which may not have the memory back before this
  return y;
}

}  // namespace graft
