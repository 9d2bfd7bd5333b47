#include "client/commands/train_options.h"

#include <CLI/CLI.hpp>

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/commands/commands.h"
#include "client/field_text.h"
#include "client/job_spec_file.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// An option and the field of JobSpec that it sets. The values of an enum follow its help.
struct NamedOption {
  const char* name;
  const char* path;
  const char* help;
  bool positive = false;  // zero, which the API takes for the default, is refused
  bool seconds = false;   // may be written as a duration, too
};

struct Group {
  const char* title;
  std::vector<NamedOption> options;
};

const std::vector<Group>& Groups() {
  static const auto* const groups = new std::vector<Group>{
      {"What to train (the first three are required, here or in --spec; with auto the first two)",
       {{"--dataset", "dataset", "Name of the dataset"},
        {"--strategy", "strategy",
         "How (scratch: all from random weights, gradual: stage by stage,\nauto: chooses backbone and strategy)"},
        {"--backbone", "backbone", "Name from 'graft backbone list'; with auto the only one tried"},
        {"--dataset-version", "dataset_version", "sha256:... (default: the newest)"},
        {"--model", "model", "The result becomes the next version of this model"},
        {"--input-px", "input_px", "Side of the network's input (default: the backbone's; see 'backbone show')", true}}},
      {"Choosing (auto)",
       {{"--budget", "auto.budget_seconds", "For choosing and training, as 600 or 1h30m (default 10m)", true, true},
        {"--backbones", "auto.backbones", "To choose from, as a,b (default: all that are installed)"}}},
      {"Training",
       {{"--epochs", "epochs", "Epochs of the last phase (default 30, 10 for fine-tune)", true},
        {"--batch-size", "batch_size", "Images a batch (default 32)", true},
        {"--accumulate-batches", "accumulate_batches", "Batches a step (default 1)", true},
        {"--learning-rate", "learning_rate", "Of the last phase (default 0.01, 0.005 for fine-tune)", true},
        {"--find-learning-rate", "learning_rate_finder.steps",
         "Steps of a test that finds it before each phase but the head's own,\n"
         "20 to 1000 (default: off; only reported with --learning-rate)"},
        {"--seed", "seed", "Of shuffling and initial weights (default 0)"},
        {"--early-stopping", "early_stopping.patience", "Epochs without improvement that end a phase (default: off)"},
        {"--class-balance", "class_balance", "What helps rare classes (default none)"},
        {"--precision", "precision", "Of the arithmetic (default auto)"}}},
      {"Fine-tuning",
       {{"--unfreeze-stages", "fine_tune.unfreeze_stages", "Last backbone stages to train (default 3)", true},
        {"--unfreeze-from", "fine_tune.unfreeze_from", "Instead: the first stage to train, by its name"},
        {"--head-epochs", "fine_tune.head_epochs", "Epochs of the head's own phase before (default 10)", true},
        {"--stage-decay", "fine_tune.stage_decay",
         "Factor of the learning rate from stage to stage (default 1,\nof gradual 1/2.6)"}}},
      {"Head",
       {{"--head", "head.type", "What is trained on the features (default linear)"},
        {"--hidden-width", "head.hidden_width", "Of an mlp (default 256)", true},
        {"--dropout", "head.dropout", "Before the last layer (default 0, of an mlp 0.5; 0 with lbfgs)"}}},
      {"Optimizer",
       {{"--optimizer", "optimizer.type", "What makes a step (default sgd)"},
        {"--momentum", "optimizer.momentum", "Of sgd and rmsprop (default 0.9, of rmsprop 0)"},
        {"--weight-decay", "optimizer.weight_decay",
         "Not of norms and biases (default 0, of adamw and\nfrozen-head 0.01, from scratch 0.0001)"},
        {"--schedule", "schedule.type", "Of the learning rate (default cosine)"},
        {"--warmup-epochs", "schedule.warmup_epochs", "Linear, before the schedule (default 0)"}}},
      {"Regularization (default: off)",
       {{"--label-smoothing", "regularization.label_smoothing", "Share of a label spread over all classes"},
        {"--clip-norm", "regularization.clip_norm", "Largest norm of a gradient (default of fine-tune: 1)"},
        {"--l2-sp", "regularization.l2_sp", "Pull towards the pretrained weights"},
        {"--ema-decay", "regularization.ema_decay", "Of the average over steps that is used instead of the last"},
        {"--mixup-alpha", "regularization.mixup_alpha", "Mixes pairs of pictures"},
        {"--cutmix-alpha", "regularization.cutmix_alpha", "Puts a box of one picture into another"}}},
      {"Augmentation",
       {{"--augmentation", "augmentation.preset",
         "Preset (default light, none for frozen-head): none, flip, crop-flip,\nlight, keras, rand-augment, trivial-augment"},
        {"--augmented-views", "augmentation.views", "Kept for each picture; 0 = new ones each epoch (default 4)"}}},
      {"Evaluation (default: off)",
       {{"--folds", "evaluation.folds", "Of a cross-validation of a linear probe on frozen features"},
        {"--learning-curve", "evaluation.learning_curve", "Subsets from which to forecast what more pictures bring"}}},
  };
  return *groups;
}

const google::protobuf::FieldDescriptor* FieldAt(absl::string_view path) {
  const google::protobuf::Descriptor* message = v1::JobSpec::descriptor();
  const google::protobuf::FieldDescriptor* field = nullptr;
  for (const auto name : absl::StrSplit(path, '.')) {
    field = message->FindFieldByName(std::string(name));
    GRAFT_CHECK(field != nullptr);
    message = field->message_type();
  }
  return field;
}

std::string TypeName(const google::protobuf::FieldDescriptor* field) {
  if (field->is_repeated()) return "NAMES";
  switch (field->cpp_type()) {
    case google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE: return "NUMBER";
    case google::protobuf::FieldDescriptor::CPPTYPE_INT32:
    case google::protobuf::FieldDescriptor::CPPTYPE_UINT64: return "INT";
    default: return "NAME";
  }
}

// Nothing when the assignment can be made, else why not.
std::string Refusal(const std::string& path, const std::string& text) {
  v1::JobSpec spec;
  return std::string(SetField(&spec, path, text).message());
}

// Turns a duration such as "1h30m" into its seconds, and leaves a number as it is. Returns why not, or nothing.
std::string ReplaceBySeconds(std::string& text) {
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds) && std::isfinite(seconds)) return "";
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration == absl::InfiniteDuration() ||
      duration == -absl::InfiniteDuration()) {
    return absl::StrCat("got ", QuotedText(text), ", want seconds or a duration such as 10m or 1h30m");
  }
  text = absl::StrFormat("%.17g", absl::ToDoubleSeconds(duration));  // reads back to the last bit
  return "";
}

void AddNamedOption(CLI::App* app, const NamedOption& option, const char* group, SpecOptions* options) {
  const google::protobuf::FieldDescriptor* const field = FieldAt(option.path);
  const bool is_enum = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_ENUM;
  const std::string words = is_enum ? ": " + absl::StrJoin(EnumWords(field->enum_type()), ", ") : "";
  const std::string path = option.path;
  CLI::Option* const added = app->add_option_function<std::string>(
      option.name, [options, path](const std::string& text) { options->fields.emplace_back(path, text); },
      option.help + words);
  added->group(group)->type_name(option.seconds ? "SECONDS" : TypeName(field));
  if (option.seconds) added->transform(CLI::Validator(ReplaceBySeconds, ""));
  if (option.positive) added->check(Positive());
  // CLI11 says which option: the field's path would say it twice.
  added->check(CLI::Validator(
      [path](std::string& text) {
        return std::string(absl::StripPrefix(Refusal(path, text), absl::StrCat(path, ": ")));
      },
      ""));
}

SpecOptions::Assignment ParseAssignment(const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  return parts;
}

std::string RefusalOfSet(const std::string& text) {
  if (text.find('=') == std::string::npos) return absl::StrCat("got ", QuotedText(text), ", want PATH=VALUE");
  const auto [path, value] = ParseAssignment(text);
  return Refusal(path, value);
}

}  // namespace

absl::StatusOr<v1::JobSpec> SpecOptions::Build() const {
  v1::JobSpec spec;
  if (!file.empty()) {
    ASSIGN_OR_RETURN(spec, ReadJobSpec(file));
  }
  for (const auto& [path, text] : fields) RETURN_IF_ERROR(SetField(&spec, path, text));
  for (const auto& [path, text] : sets) RETURN_IF_ERROR(SetField(&spec, path, text));
  return spec;
}

void AddSpecOptions(CLI::App* app, SpecOptions* options) {
  for (const Group& group : Groups()) {
    for (const NamedOption& option : group.options) AddNamedOption(app, option, group.title, options);
  }
  constexpr const char* kGroup = "All settings, named as in graft/v1/job.proto";
  app->add_option("--spec", options->file, "YAML or JSON file of a JobSpec; the options above win over it")
      ->type_name("FILE")
      ->group(kGroup);
  app->add_option_function<std::vector<std::string>>(
         "--set",
         [options](const std::vector<std::string>& all) {
           for (const std::string& text : all) options->sets.push_back(ParseAssignment(text));
         },
         "optimizer.momentum=0.8, say; wins over all, may be repeated")
      ->allow_extra_args(false)
      ->type_name("PATH=VALUE")
      ->group(kGroup)
      ->check(CLI::Validator([](std::string& text) { return RefusalOfSet(text); }, ""));
}

}  // namespace graft
