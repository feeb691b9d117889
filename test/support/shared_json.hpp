// The reader of JSON, which most tests use: compiled once, in shared_json.cpp.
#pragma once

#include "midus/io/json.hpp"

extern template class nlohmann::detail::serializer<midus::Json>;

namespace midus {

extern template void scan_json<JsonBuilder>(JsonSource&, JsonBuilder&);

}  // namespace midus
