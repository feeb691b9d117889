#include "support/shared_json.hpp"

template class nlohmann::detail::serializer<midus::Json>;

namespace midus {

template void scan_json<JsonBuilder>(JsonSource&, JsonBuilder&);

}  // namespace midus
