// The second unit of the consumers' program.
#include "consumer.hpp"

const void* seen_by_other_unit() { return &midus::version_string; }
