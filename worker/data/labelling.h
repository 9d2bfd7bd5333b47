#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "worker/data/dataset.h"

namespace graft {

// What some pictures are labelled with: one class each, or, of a multi-label dataset, any number of classes each.
//
// Threads: a value; nothing changes.
class Labelling {
 public:
  Labelling() = default;  // no pictures
  // One class each. Implicit, so that what takes a Labelling takes plain labels.
  Labelling(std::vector<int> one_each) : one_each_(std::move(one_each)) {}
  Labelling(std::initializer_list<int> one_each) : one_each_(one_each) {}
  // Any number of classes each, ascending.
  static Labelling AnyNumber(std::vector<std::vector<int>> sets);
  // Of examples of one dataset.
  static Labelling Of(const std::vector<Example>& examples);
  // Of the `n` examples at `indices`.
  static Labelling Of(const std::vector<Example>& examples, const int64_t* indices, int64_t n);

  bool multi_label() const { return multi_label_; }
  size_t size() const { return multi_label_ ? sets_.size() : one_each_.size(); }
  const std::vector<int>& one_each() const { return one_each_; }        // of a multi-label one empty
  const std::vector<std::vector<int>>& sets() const { return sets_; }  // only of a multi-label one
  bool Has(size_t picture, int label) const;

  // Of the pictures at `indices`.
  Labelling At(const std::vector<int64_t>& indices) const;
  // Pictures of each class.   Requires: labels are in [0, classes)
  std::vector<int64_t> Counts(int classes) const;

 private:
  bool multi_label_ = false;
  std::vector<int> one_each_;
  std::vector<std::vector<int>> sets_;
};

}  // namespace graft
