#include "client/render.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/evaluation_text.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kBarWidth = 30;  // characters between the brackets, when the line has room for them

std::string FormatStateChange(const v1::StateChange& change) {
  std::string line = FormatState(change.state());
  if (change.attempt() > 1) absl::StrAppend(&line, " (attempt ", change.attempt(), ")");
  if (!change.reason().empty()) absl::StrAppend(&line, ": ", Printable(change.reason()));
  return absl::StrCat(line, "\n");
}

std::string FormatPhase(const v1::PhaseStart& phase) {
  const v1::ParameterCounts& counts = phase.parameters();
  const std::string stages =
      phase.trained_stages().empty() ? "the head only" : Printable(absl::StrJoin(phase.trained_stages(), ", "));
  return absl::StrFormat(
      "phase %d, %s: %d epochs, learning rate %g\n"
      "  trains %s\n"
      "  parameters: %s of the backbone and %s of the head trained, %s frozen\n",
      phase.index() + 1, Printable(phase.phase()), phase.epochs(), phase.learning_rate(), stages,
      FormatCount(counts.trainable_backbone()), FormatCount(counts.trainable_head()), FormatCount(counts.frozen()));
}

std::string FormatProgress(const v1::StepProgress& progress) {
  return absl::StrFormat("%s %s/%s images, %.1f images/s\n", Printable(progress.activity()),
                         FormatCount(progress.done()), FormatCount(progress.total()), progress.images_per_second());
}

std::string FormatEpoch(const v1::EpochMetrics& epoch) {
  std::string line = absl::StrFormat(
      "%s epoch %d/%d  train loss %.4f acc %s  val loss %.4f acc %s  lr %g  %.1f images/s  ETA %s",
      Printable(epoch.phase()), epoch.epoch(), epoch.phase_epochs(), epoch.train_loss(),
      FormatPercent(epoch.train_accuracy()), epoch.val_loss(), FormatPercent(epoch.val_accuracy()),
      epoch.learning_rate(), epoch.images_per_second(), FormatSeconds(epoch.eta_seconds()));
  if (epoch.has_held_out_loss()) {
    absl::StrAppendFormat(&line, "  held-out loss %.4f acc %s", epoch.held_out_loss(),
                          FormatPercent(epoch.held_out_accuracy()));
  }
  if (epoch.has_held_out_macro_f1()) absl::StrAppendFormat(&line, " macro F1 %.3f", epoch.held_out_macro_f1());
  if (epoch.best()) absl::StrAppend(&line, "  best so far");
  return line + "\n";
}

std::string FormatLearningRate(const v1::LearningRateFound& found) {
  const std::string begin = absl::StrCat("learning rate finder, ", Printable(found.phase()), ": ");
  const std::string smallest =
      found.has_minimum() ? absl::StrFormat(", the loss is smallest at %.3g", found.minimum()) : "";
  if (!found.has_suggestion()) return absl::StrCat(begin, "no suggestion: the loss hardly fell", smallest, "\n");
  const char* const what = found.applied() ? "is used" : "is suggested, not used";
  return absl::StrFormat("%s%.3g %s%s\n", begin, found.suggestion(), what, smallest);
}

std::string FormatCheckpoint(const v1::CheckpointSaved& checkpoint) {
  const std::string images =
      checkpoint.images() > 0 ? absl::StrCat(", with ", FormatCount(checkpoint.images()), " images of the next") : "";
  return absl::StrFormat("checkpoint after %s epoch %d, %s%s\n", Printable(checkpoint.phase()), checkpoint.epoch(),
                         FormatBytes(checkpoint.bytes()), images);
}

std::string FormatRankedBackbones(const v1::AutoReport& report, bool terminal) {
  if (report.backbones().empty()) return "";
  Table table({{"BACKBONE", false}, {"ACCURACY", true}, {"LOG-LOSS", true}, {"LOGME", true}, {"TIME", true}});
  for (const v1::AutoReport::RankedBackbone& backbone : report.backbones()) {
    table.AddRow({backbone.name(), FormatPercent(backbone.accuracy(), backbone.standard_deviation()),
                  absl::StrFormat("%.4f", backbone.log_loss()), absl::StrFormat("%.4f", backbone.log_me()),
                  FormatSeconds(backbone.seconds())});
  }
  return absl::StrCat("backbones by a linear probe, best first:\n", table.Render(terminal));
}

std::string FormatTrainings(const v1::AutoReport& report, bool terminal) {
  if (report.trainings().empty()) return "";
  Table table({{"BACKBONE", false}, {"TRAINING", false}, {"ACCURACY", true}, {"TIME", true}, {"", false}});
  for (const v1::AutoReport::Training& training : report.trainings()) {
    const char* const without = training.seconds() > 0 ? "no result" : "not tried";
    table.AddRow({training.backbone(), training.what(),
                  training.has_accuracy() ? FormatPercent(training.accuracy(), training.standard_error()) : without,
                  training.seconds() > 0 ? FormatSeconds(training.seconds()) : "",
                  training.chosen() ? "chosen" : ""});
  }
  return absl::StrCat("trainings, on pictures held out:\n", table.Render(terminal));
}

// `text` padded to `width` columns.
std::string Pad(const std::string& text, size_t width, bool right_aligned) {
  const std::string space(width - std::min(width, DisplayWidth(text)), ' ');
  return right_aligned ? space + text : text + space;
}

}  // namespace

void Table::AddRow(std::vector<std::string> cells) {
  GRAFT_CHECK(cells.size() == columns_.size());
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::Render(bool aligned) const {
  if (aligned) return RenderAligned();
  std::string text;
  for (const auto& row : rows_) absl::StrAppend(&text, absl::StrJoin(row, "\t"), "\n");
  return text;
}

std::string Table::RenderAligned() const {
  std::vector<std::string> headers;
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    headers.push_back(columns_[i].header);
    widths.push_back(DisplayWidth(columns_[i].header));
    for (const auto& row : rows_) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string text = AlignedLine(headers, widths);
  for (const auto& row : rows_) text += AlignedLine(row, widths);
  return text;
}

std::string Table::AlignedLine(const std::vector<std::string>& cells, const std::vector<size_t>& widths) const {
  std::vector<std::string> padded;
  for (size_t i = 0; i < cells.size(); ++i) padded.push_back(Pad(cells[i], widths[i], columns_[i].right_aligned));
  std::string line = absl::StrJoin(padded, "  ");
  absl::StripTrailingAsciiWhitespace(&line);
  return line + "\n";
}

std::string ProgressBar::Render(int width) const {
  const std::string before = Printable(label);
  if (total <= 0) return absl::StrCat(before, " ", FormatCount(done), suffix.empty() ? "" : "  ", suffix);
  const double share = std::min(1.0, static_cast<double>(std::max<int64_t>(done, 0)) / static_cast<double>(total));
  const std::string after =
      absl::StrFormat(" %3d %%%s%s", static_cast<int>(share * 100), suffix.empty() ? "" : "  ", suffix);
  const int room = width - static_cast<int>(DisplayWidth(before) + DisplayWidth(after)) - 3;  // " [" and "]"
  const int cells = std::min(kBarWidth, room);
  if (cells < 5) return before + after;
  const int filled = static_cast<int>(share * cells);
  return absl::StrCat(before, " [", std::string(filled, '#'), std::string(cells - filled, '-'), "]", after);
}

ProgressBar StepBar(const v1::StepProgress& progress) {
  return {progress.activity(), progress.done(), progress.total(),
          absl::StrFormat("%s images, %.1f/s", FormatCount(progress.total()), progress.images_per_second())};
}

std::string FormatAutoReport(const v1::AutoReport& report, bool terminal) {
  std::string text = FormatRankedBackbones(report, terminal) + FormatTrainings(report, terminal);
  for (const std::string& reason : report.reasons()) absl::StrAppend(&text, Printable(reason), "\n");
  return text;
}

std::string FormatEvent(const v1::JobEvent& event, bool terminal) {
  switch (event.event_case()) {
    case v1::JobEvent::kState: return FormatStateChange(event.state());
    case v1::JobEvent::kPhase: return FormatPhase(event.phase());
    case v1::JobEvent::kProgress: return FormatProgress(event.progress());
    case v1::JobEvent::kEpoch: return FormatEpoch(event.epoch());
    case v1::JobEvent::kWarning: return absl::StrCat("warning: ", Printable(event.warning().message()), "\n");
    case v1::JobEvent::kCheckpoint: return terminal ? "" : FormatCheckpoint(event.checkpoint());
    case v1::JobEvent::kEvaluation: return FormatEvaluation(event.evaluation(), terminal);
    case v1::JobEvent::kAutoReport: return FormatAutoReport(event.auto_report(), terminal);
    case v1::JobEvent::kLearningRate: return FormatLearningRate(event.learning_rate());
    case v1::JobEvent::EVENT_NOT_SET: return "";  // of a newer server
  }
  return "";
}

}  // namespace graft
