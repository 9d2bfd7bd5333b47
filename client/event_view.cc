#include "client/event_view.h"

#include <utility>

namespace graft {

void StatusLine::Show(const ProgressBar& bar) {
  std::string line = bar.Render(width_ - 1);  // a full line would wrap on some terminals
  if (line == shown_) return;
  out_ << "\r\033[K" << line << std::flush;  // ECMA-48: erase to the end of the line
  shown_ = std::move(line);
}

void StatusLine::Clear() {
  if (shown_.empty()) return;
  out_ << "\r\033[K" << std::flush;
  shown_.clear();
}

void EventView::Show(const v1::JobEvent& event) {
  if (event.has_progress()) {
    ShowProgress(event);
    return;
  }
  last_tenths_ = -1;
  Print(event);
}

void EventView::ShowProgress(const v1::JobEvent& event) {
  const v1::StepProgress& progress = event.progress();
  if (options_.terminal) {
    status_line_.Show(StepBar(progress));
    return;
  }
  const int64_t tenths = progress.total() > 0 ? progress.done() * 10 / progress.total() : 0;
  if (progress.activity() == last_activity_ && tenths == last_tenths_) return;
  last_activity_ = progress.activity();
  last_tenths_ = tenths;
  Print(event);
}

void EventView::Print(const v1::JobEvent& event) {
  const std::string text = FormatEvent(event, options_.terminal);
  if (text.empty()) return;
  status_line_.Clear();
  out_ << text << std::flush;
}

}  // namespace graft
