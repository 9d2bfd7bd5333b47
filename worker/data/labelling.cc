#include "worker/data/labelling.h"

#include <algorithm>
#include <utility>

namespace graft {

Labelling Labelling::AnyNumber(std::vector<std::vector<int>> sets) {
  Labelling labels;
  labels.multi_label_ = true;
  labels.sets_ = std::move(sets);
  return labels;
}

Labelling Labelling::Of(const std::vector<Example>& examples) {
  if (examples.empty() || examples.front().label >= 0) return LabelsOf(examples);
  std::vector<std::vector<int>> sets;
  sets.reserve(examples.size());
  for (const Example& example : examples) sets.push_back(example.labels);
  return AnyNumber(std::move(sets));
}

Labelling Labelling::Of(const std::vector<Example>& examples, const int64_t* indices, int64_t n) {
  Labelling labels;
  labels.multi_label_ = n > 0 && examples[indices[0]].label < 0;
  for (int64_t i = 0; i < n; ++i) {
    const Example& example = examples[indices[i]];
    if (labels.multi_label_) {
      labels.sets_.push_back(example.labels);
    } else {
      labels.one_each_.push_back(example.label);
    }
  }
  return labels;
}

bool Labelling::Has(size_t picture, int label) const {
  if (!multi_label_) return one_each_[picture] == label;
  return std::binary_search(sets_[picture].begin(), sets_[picture].end(), label);
}

Labelling Labelling::At(const std::vector<int64_t>& indices) const {
  Labelling chosen;
  chosen.multi_label_ = multi_label_;
  for (const int64_t i : indices) {
    if (multi_label_) {
      chosen.sets_.push_back(sets_[i]);
    } else {
      chosen.one_each_.push_back(one_each_[i]);
    }
  }
  return chosen;
}

std::vector<int64_t> Labelling::Counts(int classes) const {
  std::vector<int64_t> counts(classes);
  for (const int label : one_each_) ++counts[label];
  for (const std::vector<int>& set : sets_) {
    for (const int label : set) ++counts[label];
  }
  return counts;
}

}  // namespace graft
