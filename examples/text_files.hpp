// What the programs that read text share.
#pragma once

#include <cstdio>
#include <filesystem>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/text/utf8.hpp"

/// Maps text files. Throws where there is no text in any of them.
inline std::vector<midus::MappedFile> open_texts(const std::vector<std::filesystem::path>& paths) {
  std::vector<midus::MappedFile> files(paths.begin(), paths.end());
  for (const midus::MappedFile& file : files)
    if (file.size() > 0) return files;
  midus::fail("there is no text in ", files.size() == 1 ? files[0].path().string() : "the files");
}

/// Says, on standard error, where a text is no UTF-8, which becomes U+FFFD before it becomes tokens.
inline void warn_of_invalid_utf8(const midus::MappedFile& file) {
  if (const midus::InvalidUtf8 invalid = midus::invalid_utf8(file.text()); invalid.count > 0)
    std::fprintf(stderr, "warning: %s is no UTF-8 in %zu places, the first in line %zu; they become U+FFFD\n",
                 file.path().c_str(), invalid.count, invalid.line);
}
