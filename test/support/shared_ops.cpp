#include "support/shared_ops.hpp"

namespace midus {

#define MIDUS_HERE(Op, S) template void run<S>(Cpu<S>&, const Op<S>&);
MIDUS_FOR_OPS(MIDUS_HERE, float)
MIDUS_FOR_OPS(MIDUS_HERE, double)

}  // namespace midus
