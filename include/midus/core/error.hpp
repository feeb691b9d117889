// The one exception of the library, and the one way to raise it.
#pragma once

#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>

// What of the including unit would end in pages of errors, or in wrong numbers, says so.
#if defined(min) || defined(max)
#error "midus: a macro min or max is in the way (windows.h makes them): #undef it before midus is included"
#endif
#if defined(fail) || defined(check) || defined(text)
#error "midus: a macro fail, check or text is in the way: #undef it, or include midus before what defines it"
#endif
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error \
    "midus tells numbers that are not finite from others: compile without -ffast-math, -Ofast, -ffinite-math-only"
#endif

namespace midus {

/// What comes from outside (files, text, options, the machine) and cannot be used. The message is a sentence:
/// what was expected, what was found, where, and what to do. A fault that only a bug can cause is an
/// `assert`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The parts written one after the other, in the classic locale: numbers look the same on every machine.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  (out << ... << parts);
  return out.str();
}

/// Throws `Error` with the parts as its message.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(text(parts...));
}

}  // namespace midus
