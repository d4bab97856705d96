// The functions that torch.cond chooses from. Both run and one result is selected, so neither may
// do anything but compute its result.
#include <algorithm>
#include <utility>

#include "capture/provenance.h"
#include "capture/tracer.h"
#include "ir/data_symbols.h"

namespace portwright {

void Tracer::begin_branches() {
  // What was made before is not written for real, as in a loop: the write would not be seen.
  branches_.push_back({static_cast<ValueId>(program_->graph.values.size()),
                       symbols().guards().size(), std::exchange(fresh_storages_, {}), false});
}

bool Tracer::is_older(const AliasBase& base, ValueId first_value) const {
  return base.value < first_value || constants_.contains(base.value);
}

void Tracer::note_write_in_branches(const AliasBase& base) {
  for (OpenBranches& branches : branches_) {
    branches.written = branches.written || is_older(base, branches.first_value);
  }
}

void Tracer::end_branches() {
  OpenBranches branches = std::move(branches_.back());
  branches_.pop_back();
  fresh_storages_.merge(branches.storages);
  const Place place = current_place();
  if (branches.written) {
    throw Error(ErrorCode::kUnsupported,
                "torch.cond: a function that it chooses from writes to a tensor from outside, and "
                "both functions run in the program. Return the new tensor instead",
                place.source, place.module_path);
  }
  const std::vector<Guard>& guards = symbols().guards();
  const auto on_data =
      std::find_if(guards.begin() + static_cast<int64_t>(branches.guards), guards.end(),
                   [&](const Guard& guard) { return about_data(guard.predicate, symbols()); });
  if (on_data != guards.end()) {
    throw Error(ErrorCode::kUnsupported,
                "torch.cond: a function that it chooses from decides on data (" +
                    to_string(on_data->predicate) +
                    "), and both functions run in the program. Decide with torch.where instead",
                on_data->source, on_data->module_path);
  }
}

}  // namespace portwright
