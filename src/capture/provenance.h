// Where in the model the tracer is: the Python line and the nn.Module path.
#pragma once

#include <Python.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "ir/program.h"

namespace portwright {

// The innermost Python line outside torch's own package, and the module being called.
struct Place {
  SourceLine source;
  std::string module_path;
};

// Of the calling thread. Takes the interpreter lock. Empty when no capture runs.
Place current_place();

// The same as indexes into the tables of the program that is being captured.
Provenance current_provenance();

// Finds the model's line on the Python stack; remembers what it learnt of each code object.
class FrameReader {
 public:
  ~FrameReader();
  FrameReader() = default;
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  // Files below these folders are never the model's: torch's and our own package.
  void set_library_roots(std::vector<std::string> roots) { roots_ = std::move(roots); }

  // Calls for each distinct (code, instruction) once; the interpreter lock must be held.
  const SourceLine& current();

 private:
  struct Position {
    PyCodeObject* code;
    int instruction;
    friend bool operator==(const Position&, const Position&) = default;
  };
  struct PositionHash {
    size_t operator()(const Position& position) const {
      return std::hash<const void*>()(position.code) * 31 + position.instruction;
    }
  };

  bool is_model_code(PyCodeObject* code);

  std::vector<std::string> roots_;
  std::unordered_map<PyCodeObject*, bool> is_model_;  // holds a reference to each key
  std::unordered_map<Position, SourceLine, PositionHash> lines_;
  SourceLine unknown_;
};

}  // namespace portwright
