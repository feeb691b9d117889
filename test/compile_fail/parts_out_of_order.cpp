// expected: Llama: write Llama<Vocab<V>, Width<d>, Layers<L>, Attention<H, ...>, SwiGlu<f>>, or with TiedHead last
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

using Tied = Llama<Vocab<32>, Width<16>, Layers<3>, Part<TiedHead, Attention<4>>, SwiGlu<24>, Part<Attention<4>, TiedHead>>;
static_assert(compiles<Tied>);
