// What of PCRE2 is used: compiling a pattern, and giving it back.
#pragma once

// Bytes, by the names that say so: the including unit may have chosen another width for its own expressions.
#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "midus/core/error.hpp"

namespace midus::detail {

struct Pcre2Free {
  void operator()(pcre2_code_8* code) const { pcre2_code_free_8(code); }
  void operator()(pcre2_compile_context_8* context) const { pcre2_compile_context_free_8(context); }
  void operator()(pcre2_match_data_8* data) const { pcre2_match_data_free_8(data); }
  void operator()(pcre2_match_context_8* context) const { pcre2_match_context_free_8(context); }
  void operator()(pcre2_jit_stack_8* stack) const { pcre2_jit_stack_free_8(stack); }
};

inline std::string pcre2_message(int code) {
  PCRE2_UCHAR8 message[256];
  pcre2_get_error_message_8(code, message, sizeof message);
  return reinterpret_cast<const char*>(message);
}

/// A compiled pattern, in PCRE2's own language. A line ends in a line feed, whatever PCRE2 was built for.
inline std::shared_ptr<const pcre2_code_8> compile_pcre2(std::string_view pattern) {
  int error = 0;
  PCRE2_SIZE at = 0;
  constexpr std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                                    PCRE2_NO_AUTO_CAPTURE | PCRE2_USE_OFFSET_LIMIT;
  const std::unique_ptr<pcre2_compile_context_8, Pcre2Free> context(pcre2_compile_context_create_8(nullptr));
  pcre2_set_newline_8(context.get(), PCRE2_NEWLINE_LF);
  const std::shared_ptr<pcre2_code_8> code(
      pcre2_compile_8(reinterpret_cast<PCRE2_SPTR8>(pattern.data()), pattern.size(), options, &error, &at,
                      context.get()),
      Pcre2Free());
  if (!code) fail(pcre2_message(error), " at character ", at);
  pcre2_jit_compile_8(code.get(), PCRE2_JIT_COMPLETE);  // where it cannot, the pattern is interpreted
  return code;
}

}  // namespace midus::detail
