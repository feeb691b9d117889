// Regular expressions of tokenizer.json, by PCRE2: finding matches, with bounds on the work.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/text/pcre2_code.hpp"
#include "midus/text/regex_translation.hpp"
#include "midus/text/utf8.hpp"

namespace midus {

/// A regular expression. Copies share what was compiled; a `RegexMatcher` finds matches, one per thread.
class Regex {
 public:
  /// Throws `Error` where the pattern is none, or says what midus reads otherwise than `tokenizers`.
  explicit Regex(std::string_view pattern) : pattern_(pattern) {
    try {
      if (!is_utf8(pattern)) fail("it is not UTF-8");
      code_ = detail::compile_pcre2(detail::RegexTranslation(pattern).text());
    } catch (const Error& error) {
      fail("the regular expression ", in_quotes(pattern_), ": ", error.what());
    }
  }

  const std::string& pattern() const { return pattern_; }
  const pcre2_code_8* code() const { return code_.get(); }

 private:
  std::string pattern_;
  std::shared_ptr<const pcre2_code_8> code_;
};

/// Finds matches with memory of its own.
class RegexMatcher {
 public:
  explicit RegexMatcher(const Regex& regex)
      : regex_(regex),
        data_(pcre2_match_data_create_from_pattern_8(regex.code(), nullptr)),
        context_(pcre2_match_context_create_8(nullptr)),
        stack_(pcre2_jit_stack_create_8(32 * 1024, 64 * 1024 * 1024, nullptr)) {
    pcre2_set_depth_limit_8(context_.get(), 100'000);
    pcre2_set_heap_limit_8(context_.get(), 64 * 1024);  // KiB
    if (stack_) pcre2_jit_stack_assign_8(context_.get(), nullptr, stack_.get());
  }

  /// Calls f(begin, end) for every match in `text`, which must be UTF-8, from left to right; an empty match
  /// right behind the last one is none. Throws `Error` where a match, or all of them, take too much work.
  template <class F>
  void for_matches(std::string_view text, F&& f) {
    for_matches(text, 0, text.size(),
                [&](std::size_t begin, std::size_t end) { return f(begin, end), true; });
  }

  /// The same for those matches that are left where one has ended at `from` (0: all), as long as f returns
  /// true; what begins behind `stop` need not be found.
  template <class F>
  void for_matches(std::string_view text, std::size_t from, std::size_t stop, F&& f) {
    std::size_t last_end = from > 0 ? from : text.npos;
    std::size_t costly = 1000 + (stop - std::min(from, stop)) / 200;
    while (from <= text.size()) {
      const int found = find(text, from, stop, costly);
      if (found == PCRE2_ERROR_NOMATCH) return;
      if (found < 0)
        fail("the regular expression ", in_quotes(regex_.pattern()), " takes too much work on a text of ",
             text.size(), " bytes: ", detail::pcre2_message(found));
      const PCRE2_SIZE* const range = pcre2_get_ovector_pointer_8(data_.get());
      const std::size_t begin = range[0], end = range[1];
      if (begin == end && end == last_end) {
        from += from < text.size() ? first_character(text.substr(from)).bytes : 1;
        continue;
      }
      from = last_end = end;
      if (!f(begin, end)) return;
    }
  }

 private:
  /// The first match from `from` on, or none where it begins behind `stop`. PCRE2 limits the work at each
  /// place where a match could begin, which at all places of a long text can still be hours. So only so many
  /// places (`costly`, counted down) may take more than 1000 steps: what does not go back over the text takes
  /// at most 5 a byte.
  int find(std::string_view text, std::size_t from, std::size_t stop, std::size_t& costly) {
    std::size_t places = 64;
    while (from <= stop) {
      int found = find(text, from, places, 1000);
      if (found == PCRE2_ERROR_MATCHLIMIT && places > 1) {
        places = 1;  // one of them is it
        continue;
      }
      if (found == PCRE2_ERROR_MATCHLIMIT && costly > 0) {
        --costly;
        found = find(text, from, places, 1'000'000);
      }
      if (found != PCRE2_ERROR_NOMATCH) return found;
      from += places;
      while (from < text.size() && is_inside_character(text[from])) ++from;
    }
    return PCRE2_ERROR_NOMATCH;
  }

  /// A match that begins in the `places` bytes from `from` on.
  int find(std::string_view text, std::size_t from, std::size_t places, std::uint32_t limit) {
    pcre2_set_offset_limit_8(context_.get(), from + places - 1);
    pcre2_set_match_limit_8(context_.get(), limit);
    return pcre2_match_8(regex_.code(), reinterpret_cast<PCRE2_SPTR8>(text.data()), text.size(), from,
                         PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
  }

  Regex regex_;
  std::unique_ptr<pcre2_match_data_8, detail::Pcre2Free> data_;
  std::unique_ptr<pcre2_match_context_8, detail::Pcre2Free> context_;
  std::unique_ptr<pcre2_jit_stack_8, detail::Pcre2Free> stack_;
};

}  // namespace midus
