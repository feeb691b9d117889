// safetensors files of one tensor, and what is said of them.
#pragma once

#include <string>

#include "midus/io/safetensors.hpp"
#include "support/files.hpp"

namespace midus::test {

/// The bytes of one f32 number.
inline const std::string four = "\x01\x02\x03\x04";

/// The header of a file whose one tensor "a" has these members.
inline std::string one_tensor(const std::string& members) { return R"({"a":{)" + members + "}}"; }

/// What opening a file of these bytes says.
inline std::string refusal(const TemporaryDirectory& directory, const std::string& bytes) {
  const auto path = put_file(directory / "m.safetensors", bytes);
  return message_of([&] { SafetensorsFile file(path); });
}

}  // namespace midus::test
