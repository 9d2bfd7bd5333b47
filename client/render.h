#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graft/v1/job.pb.h"

namespace graft {

// Rows of text. For people: aligned columns under a header. For programs: one line each, cells parted by tabs, and no
// header.
class Table {
 public:
  struct Column {
    std::string header;
    bool right_aligned = false;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // `cells` has one for each column.
  void AddRow(std::vector<std::string> cells);
  std::string Render(bool aligned) const;

 private:
  std::string RenderAligned() const;
  // One line of cells padded to `widths`.
  std::string AlignedLine(const std::vector<std::string>& cells, const std::vector<size_t>& widths) const;

  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// One line "label [####----]  42 % suffix" without a line end; the bar shrinks to fit `width` characters. An unknown
// total (0) has no bar.
struct ProgressBar {
  std::string label;
  int64_t done = 0;
  int64_t total = 0;
  std::string suffix;

  std::string Render(int width) const;
};

// What STRATEGY_AUTO chose from, for people: a table of the backbones, one of the trainings, and a line for each
// reason. With `terminal` the tables are aligned.
std::string FormatAutoReport(const v1::AutoReport& report, bool terminal);

// What an event says to people: lines with their ends; empty when it says nothing. With `terminal`, checkpoints say
// nothing and tables are aligned.
std::string FormatEvent(const v1::JobEvent& event, bool terminal);

// The bar of a StepProgress.
ProgressBar StepBar(const v1::StepProgress& progress);

}  // namespace graft
