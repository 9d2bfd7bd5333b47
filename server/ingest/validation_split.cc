#include "server/ingest/validation_split.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/store/blob_store.h"

namespace graft {
namespace {

// What is not kTest, by a hash: a shuffle that the seed decides.
std::vector<DatasetItem*> Shuffled(uint64_t seed, std::vector<DatasetItem>* items) {
  std::vector<std::pair<std::string, DatasetItem*>> ranked;
  for (DatasetItem& item : *items) {
    if (item.split != Split::kTest) ranked.emplace_back(Digest(absl::StrCat(seed, "\n", item.image_digest)), &item);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<DatasetItem*> shuffled;
  shuffled.reserve(ranked.size());
  for (const auto& [hash, item] : ranked) shuffled.push_back(item);
  return shuffled;
}

int64_t WantedForValidation(size_t pictures, double fraction) {
  const auto n = static_cast<double>(pictures);
  return n < 2 ? 0 : static_cast<int64_t>(std::clamp(std::round(n * fraction), 1.0, n - 1));
}

// Pictures of one class, or of none, or all.
struct Stratum {
  std::vector<size_t> items;  // places in the shuffled order
  int64_t open = 0;           // not assigned yet
  int64_t train = 0, validation = 0;
  int64_t train_goal = 0, validation_goal = 0;

  void SetGoals(size_t pictures, double fraction) {
    open = static_cast<int64_t>(pictures);
    validation_goal = WantedForValidation(pictures, fraction);
    train_goal = open - validation_goal;
  }
  // How many more pictures validation lacks than training does.
  int64_t Need() const { return (validation_goal - validation) - (train_goal - train); }
  int64_t& Count(Split split) { return split == Split::kValidation ? validation : train; }
};

// Iterative stratification: of the class that has the fewest pictures left, each goes to the side that lacks most of
// that class, then most pictures at all.
class Stratification {
 public:
  Stratification(const SplitOptions& options, std::vector<DatasetItem>* items)
      : items_(Shuffled(options.seed, items)), assigned_(items_.size(), false) {
    size_t classes = 0;
    for (const DatasetItem* item : items_) {
      if (!item->labels.empty()) classes = std::max(classes, static_cast<size_t>(item->labels.back()) + 1);
    }
    strata_.resize(classes + 1);  // the last: of the pictures without a class
    for (size_t i = 0; i < items_.size(); ++i) {
      for (Stratum* stratum : StrataOf(i)) stratum->items.push_back(i);
    }
    for (Stratum& stratum : strata_) stratum.SetGoals(stratum.items.size(), options.validation_fraction);
    whole_.SetGoals(items_.size(), options.validation_fraction);
  }

  void Run() {
    while (Stratum* const rarest = Rarest()) {
      for (const size_t i : rarest->items) {
        if (!assigned_[i]) Assign(i, SideThatLacks(*rarest));
      }
    }
    for (Stratum& stratum : strata_) {
      if (stratum.train == 0 && !stratum.items.empty()) Move(stratum.items.front(), Split::kTrain);
    }
    for (Stratum& stratum : strata_) {
      if (stratum.items.size() >= 2 && stratum.validation == 0) Spare(stratum.items);
    }
  }

 private:
  std::vector<Stratum*> StrataOf(size_t i) {
    std::vector<Stratum*> strata;
    for (const int label : items_[i]->labels) strata.push_back(&strata_[label]);
    if (strata.empty()) strata.push_back(&strata_.back());
    return strata;
  }

  // Null when all are assigned.
  Stratum* Rarest() {
    Stratum* rarest = nullptr;
    for (Stratum& stratum : strata_) {
      if (stratum.open > 0 && (rarest == nullptr || stratum.open < rarest->open)) rarest = &stratum;
    }
    return rarest;
  }

  Split SideThatLacks(const Stratum& stratum) const {
    const int64_t need = stratum.Need() != 0 ? stratum.Need() : whole_.Need();
    return need > 0 ? Split::kValidation : Split::kTrain;
  }

  void Assign(size_t i, Split split) {
    assigned_[i] = true;
    items_[i]->split = split;
    for (Stratum* stratum : StrataOf(i)) {
      --stratum->open;
      ++stratum->Count(split);
    }
    ++whole_.Count(split);
  }

  void Move(size_t i, Split split) {
    for (Stratum* stratum : StrataOf(i)) {
      --stratum->Count(items_[i]->split);
      ++stratum->Count(split);
    }
    items_[i]->split = split;
  }

  // Moves the first of some training pictures to validation that is none of its classes' last.
  void Spare(const std::vector<size_t>& candidates) {
    for (const size_t i : candidates) {
      const std::vector<Stratum*> strata = StrataOf(i);
      const bool is_last = std::any_of(strata.begin(), strata.end(), [](const Stratum* s) { return s->train < 2; });
      if (!is_last) return Move(i, Split::kValidation);
    }
  }

  const std::vector<DatasetItem*> items_;
  std::vector<bool> assigned_;
  std::vector<Stratum> strata_;
  Stratum whole_;  // its `items` are not needed
};

}  // namespace

void SplitOffValidation(const SplitOptions& options, std::vector<DatasetItem>* items) {
  std::map<int, std::vector<DatasetItem*>> by_label;
  for (DatasetItem* item : Shuffled(options.seed, items)) by_label[item->labels[0]].push_back(item);
  for (const auto& [label, shuffled] : by_label) {
    const auto wanted = static_cast<size_t>(WantedForValidation(shuffled.size(), options.validation_fraction));
    for (size_t i = 0; i < shuffled.size(); ++i)
      shuffled[i]->split = i < wanted ? Split::kValidation : Split::kTrain;
  }
}

void SplitOffMultiLabelValidation(const SplitOptions& options, std::vector<DatasetItem>* items) {
  Stratification(options, items).Run();
}

}  // namespace graft
