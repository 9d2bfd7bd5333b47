#pragma once

#include "graft/v1/job.pb.h"
#include "worker/train/recipe.h"

namespace graft {

// A recipe's options are fields of JobSpec by the same paths ("optimizer.momentum"), so that both ways are reflection.

// What a spec chooses; of STRATEGY_AUTO all but the strategy. Values that no enumeration has are left open.
Recipe ToRecipe(const v1::JobSpec& spec);

// Writes the options of a recipe with defaults that apply into `spec`.
void SetOptions(Recipe recipe, v1::JobSpec* spec);

}  // namespace graft
