// A Program as the JSON document of torch.export's schema.
#pragma once

#include <string>

#include "pt2/interface.h"
#include "pt2/schema.h"

namespace portwright {

// The text of models/model.json. `schemas` must know every operator of the program.
//
// Guards become comparisons and aten._assert_scalar nodes: those on input sizes before everything
// else, those on data as soon as their symbols are known. Views are written as reshape, because a
// functional program does not keep the copies that make a view legal.
//
// Loops are torch.ops.higher_order.scan, see loops_are_scans.
//
// Error(kUnsupported): an operator without a schema, another loop, a number that the format cannot
// hold.
std::string write_model(const Program& program, const Pt2Interface& interface,
                        SchemaTable& schemas);

// Whether torch's scan can be every loop of the graph: it stacks what rounds give, and joins
// nothing along dims in which they differ.
bool loops_are_scans(const Graph& graph, const SymbolTable& symbols);

}  // namespace portwright
