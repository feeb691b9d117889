// Names of parameters, and patterns of names.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "midus/core/shape.hpp"

namespace midus {

/// The checkpoint name of a parameter as it is built up while visiting: `path / "self_attn" / "q_proj" /
/// "weight"`.
///
/// Every layer, block and model has `static void visit(auto& self, const Path& path, auto&& f)`, which calls
/// `f(path, parameter)` for each of its parameters, always in the same order. Loading, saving, the optimizer,
/// clipping, freezing by name, counting and the gradient checks are all that one mechanism.
class Path {
 public:
  Path() = default;
  explicit Path(std::string name) : name_(std::move(name)) {}

  const std::string& str() const { return name_; }

  template <class Part>
  friend Path operator/(const Path& path, const Part& part) {
    std::string name = path.name_;
    if (!name.empty()) name += '.';
    if constexpr (std::is_convertible_v<Part, std::string_view>)
      name += std::string_view(part);
    else
      name += std::to_string(part);
    return Path(std::move(name));
  }

 private:
  std::string name_;
};

/// True where `name` has the form of `pattern`: `*` stands for any run of characters (also none, also dots),
/// `?` for one character, everything else for itself.
constexpr bool matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, i = 0, star = std::string_view::npos, resume = 0;
  while (i < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = i;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[i])) {
      ++p, ++i;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      i = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace midus
