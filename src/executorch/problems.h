// What is wrong with a .pte model, collected so that one error says all of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace portwright {

class Problems {
 public:
  // Where the next ones are: "method 'forward', value 3".
  void at(std::string place) { place_ = std::move(place); }
  void add(const std::string& what) { lines_.push_back(place_ + ": " + what); }

  bool empty() const { return lines_.empty(); }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::string place_;
  std::vector<std::string> lines_;
};

}  // namespace portwright
