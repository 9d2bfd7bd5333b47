#include "client/evaluation_text.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "client/format.h"
#include "client/render.h"

namespace graft {
namespace {

constexpr int kShownPictures = 5;  // of each list of suspect pictures; --json has all

std::string FormatAccuracy(const v1::Evaluation& evaluation) {
  std::string split = v1::Split_Name(evaluation.split());
  split = absl::AsciiStrToLower(absl::StripPrefix(split, "SPLIT_"));
  return absl::StrFormat(
      "%s %s (95 %% interval %s to %s) on %s images of the %s split, loss %.4f, calibration error %.4f\n",
      evaluation.has_multi_label() ? "all classes right" : "accuracy", FormatPercent(evaluation.accuracy()),
      FormatPercent(evaluation.accuracy_low()),
      FormatPercent(evaluation.accuracy_high()), FormatCount(evaluation.image_count()), split, evaluation.loss(),
      evaluation.expected_calibration_error());
}

std::string FormatMultiLabel(const v1::MultiLabelMetrics& metrics) {
  return absl::StrFormat("mAP %s, F1 %.3f micro, %.3f macro, Hamming loss %.4f\n",
                         FormatPercent(metrics.mean_average_precision()), metrics.micro_f1(), metrics.macro_f1(),
                         metrics.hamming_loss());
}

std::string FormatClasses(const v1::Evaluation& evaluation, bool terminal) {
  std::vector<Table::Column> columns{
      {"CLASS", false}, {"PRECISION", true}, {"RECALL", true}, {"F1", true}, {"IMAGES", true}};
  if (evaluation.has_multi_label()) columns.push_back({"AP", true});
  Table table(std::move(columns));
  for (const auto& c : evaluation.classes()) {
    std::vector<std::string> cells{c.name(), absl::StrFormat("%.3f", c.precision()),
                                   absl::StrFormat("%.3f", c.recall()), absl::StrFormat("%.3f", c.f1()),
                                   absl::StrCat(c.support())};
    if (evaluation.has_multi_label()) cells.push_back(absl::StrFormat("%.3f", c.average_precision()));
    table.AddRow(std::move(cells));
  }
  return table.Render(terminal);
}

// Of a network that early stopping took back.
std::string FormatLastAccuracy(const v1::Evaluation& evaluation) {
  if (evaluation.last_accuracy() == 0 || evaluation.last_accuracy() == evaluation.accuracy()) return "";
  return absl::StrFormat("accuracy of the last epoch's weights: %s\n", FormatPercent(evaluation.last_accuracy()));
}

std::string FormatCalibration(const v1::Evaluation& evaluation) {
  std::string text;
  if (evaluation.temperature() > 0) {
    absl::StrAppendFormat(&text, "calibration: error %.4f at temperature %.3f, %.4f without\n",
                          evaluation.expected_calibration_error(), evaluation.temperature(),
                          evaluation.uncalibrated_error());
  }
  if (evaluation.brier_score() > 0) {
    absl::StrAppendFormat(&text, "Brier score %.4f, %.4f uncalibrated\n", evaluation.brier_score(),
                          evaluation.uncalibrated_brier_score());
  }
  return text;
}

std::string FormatThresholds(const v1::Evaluation& evaluation) {
  const auto& classes = evaluation.classes();
  if (std::none_of(classes.begin(), classes.end(), [](const auto& c) { return c.has_threshold(); })) return "";
  std::string text = "thresholds, from which on a class reaches the precision asked for on validation:\n";
  for (const v1::ClassMetrics& c : classes) {
    absl::StrAppend(&text, "  ", Printable(c.name()), ": ");
    if (c.has_threshold()) {
      absl::StrAppendFormat(&text, "%.4f (precision %.3f, recall %.3f)\n", c.threshold(), c.threshold_precision(),
                            c.threshold_recall());
    } else {
      absl::StrAppend(&text, "none\n");
    }
  }
  return text;
}

std::string FormatCrossValidation(const v1::CrossValidation& result) {
  const std::string images = result.images() > 0 ? absl::StrCat(" on ", FormatCount(result.images()), " images") : "";
  return absl::StrFormat("cross-validation%s, %d folds: accuracy %s\n", images, result.folds(),
                         FormatPercent(result.accuracy_mean(), result.accuracy_standard_deviation()));
}

std::string FormatLearningCurve(const v1::LearningCurve& curve) {
  std::string text = "learning curve:\n";
  for (const v1::LearningCurve::Point& point : curve.points()) {
    absl::StrAppendFormat(&text, "  %s images: error %s\n", FormatCount(point.images()),
                          FormatPercent(point.error(), point.standard_deviation()));
  }
  if (!curve.fits()) return absl::StrCat(text, "  no forecast: the points follow no curve\n");
  absl::StrAppendFormat(&text, "  forecast for twice the images: error %s (%s to %s)\n",
                        FormatPercent(curve.error_at_twice()), FormatPercent(curve.error_at_twice_low()),
                        FormatPercent(curve.error_at_twice_high()));
  return text;
}

// "labelled rose, predicted daisy"; of one decision about a multi-label picture "labelled rose, the network says no".
std::string FormatDisagreement(const v1::SuspectPicture& picture) {
  const std::string label = Printable(picture.label()), predicted = Printable(picture.predicted());
  if (predicted.empty()) return absl::StrCat("labelled ", label, ", the network says no");
  if (label.empty()) return absl::StrCat("not labelled ", predicted, ", the network says yes");
  return absl::StrCat("labelled ", label, ", predicted ", predicted);
}

std::string FormatSuspects(absl::string_view title,
                           const google::protobuf::RepeatedPtrField<v1::SuspectPicture>& pictures) {
  if (pictures.empty()) return "";
  std::string text = absl::StrCat(title, ":\n");
  const int shown = std::min(pictures.size(), kShownPictures);
  for (int i = 0; i < shown; ++i) {
    const v1::SuspectPicture& picture = pictures[i];
    absl::StrAppendFormat(&text, "  %s: %s with %s\n", Printable(picture.file_name()), FormatDisagreement(picture),
                          FormatPercent(picture.confidence()));
  }
  if (shown < pictures.size()) absl::StrAppend(&text, "  and ", pictures.size() - shown, " more\n");
  return text;
}

}  // namespace

std::string FormatEvaluation(const v1::Evaluation& evaluation, bool terminal) {
  return absl::StrCat(
      evaluation.has_multi_label() ? FormatMultiLabel(evaluation.multi_label()) : "", FormatAccuracy(evaluation),
      FormatClasses(evaluation, terminal), FormatLastAccuracy(evaluation), FormatCalibration(evaluation),
      FormatThresholds(evaluation),
      evaluation.has_cross_validation() ? FormatCrossValidation(evaluation.cross_validation()) : "",
      evaluation.has_learning_curve() ? FormatLearningCurve(evaluation.learning_curve()) : "",
      FormatSuspects("most confident mistakes", evaluation.mistakes()),
      FormatSuspects("labels that are probably errors", evaluation.label_issues()));
}

}  // namespace graft
