#include "midus/io/safetensors_format.hpp"

#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;

TEST_CASE("The size of a tensor, in bytes") {
  const auto size = [](Dtype dtype, std::vector<Index> shape) { return tensor_bytes("f: t", dtype, shape); };
  CHECK(size(Dtype::f32, {}) == 4);
  CHECK(size(Dtype::f64, {2, 3}) == 48);
  CHECK(size(Dtype::boolean, {7}) == 7);
  CHECK(size(Dtype::bf16, {5, 0, 7}) == 0);
  CHECK(size(Dtype::f4, {2, 3}) == 3);
  CHECK(size(Dtype::f6_e3m2, {4}) == 3);
  CHECK(size(Dtype::c64, {1}) == 8);
  CHECK(size(Dtype::u8, {std::numeric_limits<Index>::max() / 8}) == std::numeric_limits<Index>::max() / 8);
  CHECK(to_string(std::vector<Index>{}) == "[]");

  const auto refusal = [&](Dtype dtype, std::vector<Index> shape) {
    return message_of([&] { size(dtype, shape); });
  };
  CHECK(refusal(Dtype::f4, {3}) == "f: t: shape [3] of F4 takes 12 bits; expected whole bytes");
  CHECK(refusal(Dtype::f6_e2m3, {2}) == "f: t: shape [2] of F6_E2M3 takes 12 bits; expected whole bytes");
  CHECK(refusal(Dtype::f32, {2, -1}) == "f: t: shape [2, -1] has a negative extent");
  const Index half = Index{1} << 32;
  CHECK(refusal(Dtype::u8, {half, half}) ==
        "f: t: shape [4294967296, 4294967296] of U8 is larger than any file");
  // The order is the reference's: a product that is too large stays so, whatever follows.
  CHECK(refusal(Dtype::u8, {half, half, 0}) ==
        "f: t: shape [4294967296, 4294967296, 0] of U8 is larger than any file");
  CHECK(size(Dtype::u8, {0, half, half}) == 0);
  CHECK(refusal(Dtype::f64, {Index{1} << 60}) ==
        "f: t: shape [1152921504606846976] of F64 is larger than any file");
}
