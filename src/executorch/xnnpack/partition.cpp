#include "executorch/xnnpack/partition.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>
#include <queue>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "executorch/branches.h"
#include "executorch/edge/edge.h"
#include "executorch/xnnpack/lowering.h"
#include "executorch/xnnpack/prepare.h"
#include "executorch/xnnpack/scope.h"

namespace portwright {
namespace {

constexpr size_t kNone = SIZE_MAX;
// How often clusters are moved to where they may join others.
constexpr int kRounds = 8;

// By XnnGain, and what makes a delegate worth its call.
constexpr std::array<size_t, 4> kWorth = {0, 0, 1, 2};
constexpr size_t kLeastWorth = 2;

template <typename Visitor>
void for_each_input(const Node& node, Visitor&& visit) {
  for (const Argument& argument : node.arguments) for_each_value(argument, visit);
}

// "model.layers.3.mlp" is of layer "model.layers.3"; "" outside of numbered modules.
std::string layer_of(const std::string& path) {
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const bool number = end > begin && std::all_of(path.begin() + static_cast<ptrdiff_t>(begin),
                                                   path.begin() + static_cast<ptrdiff_t>(end),
                                                   [](unsigned char c) { return std::isdigit(c); });
    if (number) return path.substr(0, end);
    begin = end + 1;
  }
  return "";
}

// Nodes of a graph in clusters that XNNPACK takes. A cluster is convex: no way leads out of it and
// back in.
class Partitioner {
 public:
  Partitioner(Program& program, const Bounds& bounds, const PartitionOptions& options)
      : program_(program),
        graph_(program.graph),
        bounds_(bounds),
        options_(options),
        scope_(program) {}

  void run() {
    look_at_nodes();
    cut_at_layers();
    find_sides();
    find_levels();
    join();
    for (int round = 0; round < kRounds && raise_clusters(); ++round) join();
    peel_views();
    drop_poor_clusters();
    write();
  }

 private:
  size_t count() const { return graph_.nodes.size(); }
  bool taken(size_t node) const { return cluster_[node] != kNone; }

  void look_at_nodes() {
    makers_.assign(graph_.values.size(), kNone);
    cluster_.assign(count(), kNone);
    gain_.assign(count(), XnnGain::kView);
    users_.assign(count(), {});
    for (size_t i = 0; i < count(); ++i) {
      const Node& node = graph_.nodes[i];
      for_each_output(node, [&](ValueId id) { makers_[id] = i; });
      for_each_input(node, [&](ValueId id) {
        if (makers_[id] != kNone) users_[makers_[id]].push_back(i);
      });
      if (!xnn_refusal({scope_, node}).empty() || !has_bounds(node)) continue;
      cluster_[i] = i;
      gain_[i] = find_xnn_lowering(node.op)->gain;
    }
  }

  // The runtime plans memory for what goes in and out of a delegate.
  bool has_bounds(const Node& node) const {
    bool bounded = true;
    const auto check = [&](ValueId id) {
      for (const Expr& size : graph_.type(id).shape) {
        bounded &= bounds_.range(size).hi < Interval::kInfinity;
      }
    };
    for_each_input(node, check);
    for_each_output(node, check);
    return bounded;
  }

  uint64_t weight_bytes(const Node& node, std::set<ValueId>& seen) const {
    uint64_t bytes = 0;
    for_each_input(node, [&](ValueId id) {
      const InputSpec* input = scope_.constant(id);
      if (input != nullptr && seen.insert(id).second) bytes += input->weight->byte_size();
    });
    return bytes;
  }

  // Segments are runs of nodes: no cluster reaches over two.
  void cut_at_layers() {
    segment_.assign(count(), 0);
    std::string layer;
    std::set<ValueId> seen;
    uint64_t bytes = 0;
    size_t segment = 0;
    for (size_t i = 0; i < count(); ++i) {
      const std::string own = layer_of(program_.module_path(graph_.nodes[i]));
      if (own != layer && bytes >= options_.cut_bytes) {
        ++segment;
        bytes = 0;
      }
      layer = own;
      if (taken(i)) bytes += weight_bytes(graph_.nodes[i], seen);
      segment_[i] = segment;
    }
  }

  // No cluster reaches over the sides of a branch. A way out of a side leads through a choice,
  // which is in no cluster, so that levels rise there.
  void find_sides() {
    const BranchPlan plan = find_branches(graph_);
    side_.assign(count(), 0);
    const auto mark = [&](size_t begin, size_t end, size_t number) {
      for (size_t at = begin; at < end; ++at) side_[plan.order[at]] = number;
    };
    size_t number = 0;
    for (const Branch& branch : plan.branches) {  // inner ones later
      mark(branch.begin, branch.otherwise, ++number);
      mark(branch.otherwise, branch.choices, ++number);
    }
  }

  // How many times the longest way to a node enters delegates from outside. It never falls along a
  // way and rises on each way that leaves a delegate and comes back, so nodes of one level and one
  // segment are convex together.
  void find_levels() {
    level_.assign(count(), 0);
    for (size_t i = 0; i < count(); ++i) {
      for_each_input(graph_.nodes[i], [&](ValueId id) {
        const size_t maker = makers_[id];
        if (maker == kNone) return;
        const size_t enters = taken(i) && !taken(maker) ? 1 : 0;
        level_[i] = std::max(level_[i], level_[maker] + enters);
      });
    }
  }

  size_t find(size_t node) {
    while (cluster_[node] != node) node = cluster_[node] = cluster_[cluster_[node]];
    return node;
  }

  // Neighbours, and those that share an input that changes, become one cluster.
  void join() {
    using Place = std::tuple<size_t, size_t, size_t>;
    const auto place_of = [&](size_t i) { return Place(segment_[i], side_[i], level_[i]); };
    std::map<std::pair<ValueId, Place>, size_t> readers;
    for (size_t i = 0; i < count(); ++i) {
      if (taken(i)) cluster_[i] = i;
    }
    for (size_t i = 0; i < count(); ++i) {
      if (!taken(i)) continue;
      const Place place = place_of(i);
      for_each_input(graph_.nodes[i], [&](ValueId id) {
        const size_t maker = makers_[id];
        if (scope_.constant(id) != nullptr) return;
        if (maker != kNone && taken(maker) && place_of(maker) == place) {
          cluster_[find(i)] = find(maker);
        }
        const auto [reader, first] = readers.emplace(std::pair(id, place), i);
        if (!first) cluster_[find(i)] = find(reader->second);
      });
    }
    for (size_t i = 0; i < count(); ++i) {
      if (taken(i)) cluster_[i] = find(i);
    }
  }

  bool reads_from(size_t node, size_t cluster) const {
    bool reads = false;
    for_each_input(graph_.nodes[node], [&](ValueId id) {
      reads |= makers_[id] != kNone && cluster_[makers_[id]] == cluster;
    });
    return reads;
  }

  bool is_read_in(size_t node, size_t cluster) const {
    return std::any_of(users_[node].begin(), users_[node].end(),
                       [&](size_t user) { return cluster_[user] == cluster; });
  }

  // Views at a cluster's borders are copies inside it and nothing outside.
  void peel_views() {
    const auto peel = [&](size_t i, bool at_border) {
      if (taken(i) && gain_[i] == XnnGain::kView && at_border) cluster_[i] = kNone;
    };
    for (size_t i = 0; i < count(); ++i) peel(i, taken(i) && !reads_from(i, cluster_[i]));
    for (size_t i = count(); i-- > 0;) peel(i, taken(i) && !is_read_in(i, cluster_[i]));
  }

  // The clusters that are no more than moves and a single elementwise operator.
  std::set<size_t> poor_clusters() const {
    std::map<size_t, size_t> worth;
    for (size_t i = 0; i < count(); ++i) {
      if (taken(i)) worth[cluster_[i]] += kWorth.at(static_cast<size_t>(gain_[i]));
    }
    std::set<size_t> poor;
    for (const auto& [cluster, sum] : worth) {
      if (sum < kLeastWorth) poor.insert(cluster);
    }
    return poor;
  }

  // A cluster may stand as late as the first of what reads it, where it may join another one. Gives
  // whether one was moved.
  bool raise_clusters() {
    std::map<size_t, size_t> latest;
    for (size_t i = 0; i < count(); ++i) {
      if (!taken(i)) continue;
      for (const size_t user : users_[i]) {
        if (segment_[user] != segment_[i] || cluster_[user] == cluster_[i]) continue;
        const auto [place, first] = latest.emplace(cluster_[i], level_[user]);
        if (!first) place->second = std::min(place->second, level_[user]);
      }
    }
    bool moved = false;
    for (size_t i = 0; i < count(); ++i) {
      const auto found = taken(i) ? latest.find(cluster_[i]) : latest.end();
      if (found == latest.end() || found->second <= level_[i]) continue;
      level_[i] = found->second;
      moved = true;
    }
    return moved;
  }

  void drop_poor_clusters() {
    const std::set<size_t> poor = poor_clusters();
    for (size_t& cluster : cluster_) {
      if (poor.count(cluster) != 0) cluster = kNone;
    }
  }

  // The nodes and clusters in an order in which each comes after what it reads: that of the first
  // node of each, as far as that is possible.
  std::vector<size_t> order() const {
    const auto unit = [&](size_t node) { return taken(node) ? first_.at(cluster_[node]) : node; };
    std::vector<std::set<size_t>> readers(count());
    std::vector<size_t> waits(count(), 0);
    for (size_t i = 0; i < count(); ++i) {
      for (const size_t user : users_[i]) {
        if (unit(i) != unit(user) && readers[unit(i)].insert(unit(user)).second) {
          ++waits[unit(user)];
        }
      }
    }
    std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
    for (size_t i = 0; i < count(); ++i) {
      if (unit(i) == i && waits[i] == 0) ready.push(i);
    }
    std::vector<size_t> order;
    while (!ready.empty()) {
      order.push_back(ready.top());
      ready.pop();
      for (const size_t reader : readers[order.back()]) {
        if (--waits[reader] == 0) ready.push(reader);
      }
    }
    return order;
  }

  void write() {
    std::map<size_t, std::vector<size_t>> members;
    for (size_t i = 0; i < count(); ++i) {
      if (!taken(i)) continue;
      first_.try_emplace(cluster_[i], i);
      members[first_[cluster_[i]]].push_back(i);
    }
    std::vector<Node> nodes;
    size_t written = 0;
    for (const size_t i : order()) {
      const auto found = members.find(i);
      written += found == members.end() ? 1 : found->second.size();
      nodes.push_back(found == members.end() ? graph_.nodes[i] : delegate(found->second));
    }
    if (written != count()) throw Error(ErrorCode::kInternal, "delegates wait for each other");
    graph_.nodes = std::move(nodes);
  }

  bool is_read_outside(ValueId id, size_t maker) const {
    if (std::find(graph_.outputs.begin(), graph_.outputs.end(), id) != graph_.outputs.end()) {
      return true;
    }
    for (const size_t user : users_[maker]) {
      if (cluster_[user] == cluster_[maker]) continue;
      bool reads = false;
      for_each_input(graph_.nodes[user], [&](ValueId read) { reads |= read == id; });
      if (reads) return true;
    }
    return false;
  }

  Node delegate(const std::vector<size_t>& members) const {
    Graph body;
    ValueList arguments, results;
    std::unordered_map<ValueId, ValueId> inside;
    const auto body_value = [&](ValueId id) {
      const auto [place, added] = inside.try_emplace(id, kNoValue);
      if (added) place->second = body.add_value(graph_.type(id));
      return place->second;
    };
    for (const size_t i : members) {
      for_each_input(graph_.nodes[i], [&](ValueId id) {
        if (inside.count(id) != 0) return;
        arguments.push_back(id);
        body.inputs.push_back(body_value(id));
      });
      Node copy = graph_.nodes[i];
      for (Argument& argument : copy.arguments) argument = map_values(argument, body_value);
      for (Output& output : copy.outputs) {
        if (auto* id = std::get_if<ValueId>(&output)) *id = body_value(*id);
        if (auto* list = std::get_if<ValueList>(&output)) {
          for (ValueId& id : *list) id = body_value(id);
        }
      }
      for_each_output(graph_.nodes[i], [&](ValueId id) {
        if (!is_read_outside(id, i)) return;
        results.push_back(id);
        body.outputs.push_back(inside.at(id));
      });
      body.nodes.push_back(std::move(copy));
    }
    const Provenance place = graph_.nodes[members[0]].provenance;
    Node node{kDelegate, {std::move(arguments)}, {std::move(results)}, {}, place};
    node.graphs.push_back(std::move(body));
    return node;
  }

  Program& program_;
  Graph& graph_;
  const Bounds& bounds_;
  const PartitionOptions& options_;
  XnnScope scope_;
  std::vector<size_t> makers_;              // by value: the node that makes it
  std::vector<std::vector<size_t>> users_;  // by node
  std::vector<XnnGain> gain_;
  std::vector<size_t> segment_, side_, level_;
  std::vector<size_t> cluster_;     // by node: a node that stands for its cluster, or kNone
  std::map<size_t, size_t> first_;  // by cluster: its first node
};

}  // namespace

void partition_for_xnnpack(Program& program, const Bounds& bounds,
                           const PartitionOptions& options) {
  prepare_program_for_xnnpack(program);
  Partitioner(program, bounds, options).run();
}

std::map<std::string, size_t> xnnpack_refusals(const Program& program) {
  const XnnScope scope(program);
  std::map<std::string, size_t> refusals;
  for (const Node& node : program.graph.nodes) {
    if (is_delegate(node)) continue;
    const std::string_view reason = xnn_refusal({scope, node});
    ++refusals[node.op + ": " +
               std::string(reason.empty() ? "a delegate is not worth it" : reason)];
  }
  return refusals;
}

}  // namespace portwright
