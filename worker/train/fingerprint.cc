#include "worker/train/fingerprint.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "worker/base/sha256.h"
#include "worker/data/activations.h"

namespace graft {

std::string Fingerprint(const TrainOptions& options, const Dataset& data, int pool_size, Precision precision) {
  Sha256 sha;
  const EarlyStopping& stop = options.early_stopping;
  const char* const device = options.backbone->device().is_cuda() ? "cuda" : "cpu";
  const HeadOptions& head = options.head;
  sha.Update(absl::StrCat("training 2 ", kRowsVersion, " ", device, " ", options.backbone->digest(), " ", options.seed,
                          " ", pool_size, " ", KeyOf(options.preprocessing), " ", PrecisionName(precision), " ",
                          HeadTypeName(head.type), " ", head.hidden_width, " ", head.standardize, " ", stop.patience,
                          " ", static_cast<int>(stop.metric), " ", static_cast<int>(options.class_balance), " ",
                          absl::StrFormat("%.17g %.17g %.17g", head.dropout, stop.min_delta, stop.holdout),
                          "\n", absl::StrJoin(data.class_names, "\t"), "\n"));
  for (const Phase& p : options.phases) sha.Update(KeyOf(p) + "\n");
  for (const auto* split : {&data.train, &data.validation}) {
    for (const Example& example : *split) {
      // Of a multi-label dataset each picture has its own label -1 and then its labels.
      sha.Update(absl::StrCat(example.id, " ", example.label, example.labels.empty() ? "" : " ",
                              absl::StrJoin(example.labels, " "), "\n"));
    }
    sha.Update("\n");
  }
  return sha.Finish();
}

}  // namespace graft
