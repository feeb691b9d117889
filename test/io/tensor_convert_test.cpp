#include "midus/io/tensor_convert.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "midus/core/random.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::message_of;

namespace {

/// The nearest of the type's 2^16 values, ties to the even one, found by looking at all of them near by: the
/// obvious truth that `convert` must meet. `Half` is float16 or bfloat16, value is finite and positive.
template <class Half>
Half nearest(double value) {
  // Positive halves are ordered as their bits are: the last one not above the value.
  std::uint32_t low = 0, high = 0x7fff;
  const auto at = [](std::uint32_t bits) {
    return static_cast<double>(Half{static_cast<std::uint16_t>(bits)}.to_float());
  };
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (at(middle) <= value ? low : high) = middle;  // NaN compares false: it stays above
  }
  // Past the largest one, rounding goes by the number that would come next.
  double next = at(low + 1);
  if (std::isinf(next)) next = 2 * at(low) - at(low - 1);
  const double below = value - at(low), above = next - value;
  const bool up = above < below || (above == below && low % 2 == 1);
  return Half{static_cast<std::uint16_t>(low + (up ? 1 : 0))};
}

template <class Half>
void check_all_values() {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Half half{static_cast<std::uint16_t>(bits)};
    const double wide = convert<double>(half);
    const Half back = convert<Half>(wide), back_from_float = convert<Half>(convert<float>(half));
    if (std::isnan(wide))
      REQUIRE((std::isnan(back.to_float()) && std::isnan(back_from_float.to_float())));
    else
      REQUIRE((back == half && back_from_float == half));
  }
}

template <class Half>
void check_rounding() {
  const Random random(1, "rounding");
  int ties = 0;
  for (Index i = 0; i < 20000; ++i) {
    // A value of the type, moved toward its neighbour: not, by half, and by half give or take what only a
    // double sees.
    const auto bits = static_cast<std::uint16_t>(random.below(4 * i, 0x7f7f - 1));
    const double a = Half{bits}.to_float(), b = Half{static_cast<std::uint16_t>(bits + 1)}.to_float();
    if (!std::isfinite(a) || !std::isfinite(b)) continue;
    const double half_way = a + (b - a) / 2;
    for (const double value : {a, half_way, std::nextafter(half_way, a), std::nextafter(half_way, b),
                               a + (b - a) * random.uniform(4 * i + 1)}) {
      const Half expected = nearest<Half>(value);
      CAPTURE(value, a, b);
      REQUIRE(convert<Half>(value) == expected);
      REQUIRE(convert<Half>(-value) == Half{static_cast<std::uint16_t>(expected.bits | 0x8000)});
      if (static_cast<double>(static_cast<float>(value)) == value)
        REQUIRE(convert<Half>(static_cast<float>(value)) == expected);
      ties += value == half_way;
    }
  }
  CHECK(ties >= 19000);
}

std::span<const std::byte> at(const std::string& bytes, std::size_t offset) {
  return std::as_bytes(std::span(bytes)).subspan(offset);
}

}  // namespace

TEST_CASE("Every 16-bit value goes through float and double and comes back") {
  check_all_values<float16>();
  check_all_values<bfloat16>();
}

TEST_CASE("Rounding to 16 bits is to the nearest, ties to even, and happens once") {
  check_rounding<float16>();
  check_rounding<bfloat16>();
  // Half way for a float, but above for the double: rounding twice gives 1.
  const double above = 1 + 0x1p-8 + 0x1p-40;
  CHECK(convert<bfloat16>(above).to_float() == 1 + 0x1p-7f);
  CHECK(convert<bfloat16>(1 + 0x1p-8).to_float() == 1);
  CHECK(convert<float16>(1 + 0x1p-11 + 0x1p-40).to_float() == 1 + 0x1p-10f);
}

TEST_CASE("The ends of the ranges") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double huge : {infinity, 1e300, 3.4e38 * 1.001}) {
    CHECK(convert<float16>(huge).bits == 0x7c00);
    CHECK(convert<bfloat16>(-huge).bits == 0xff80);
  }
  CHECK(convert<float16>(65504.0).bits == 0x7bff);
  CHECK(convert<float16>(65519.999).bits == 0x7bff);
  CHECK(convert<float16>(65520.0).bits == 0x7c00);
  CHECK(convert<float16>(0x1p-25).bits == 0);  // half the smallest: ties to even
  CHECK(convert<float16>(0x1p-25 * (1 + 0x1p-50)).bits == 1);
  CHECK(convert<bfloat16>(0x1p-134).bits == 0);
  CHECK(convert<bfloat16>(0x1p-134 * (1 + 0x1p-50)).bits == 1);
  CHECK(convert<bfloat16>(1e-300).bits == 0);
  CHECK(convert<float16>(-0.0).bits == 0x8000);
  CHECK(std::isnan(convert<bfloat16>(std::nan("")).to_float()));
  CHECK(std::isnan(convert<float16>(std::nan("")).to_float()));
  CHECK(convert<float>(1e300) == std::numeric_limits<float>::infinity());
}

TEST_CASE("Weights of every type, at every alignment") {
  const std::vector<double> values{0, -0.0, 1, -2.5, 0.15625, 1024, 0x1p-14};  // exact in all four types
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
    const std::vector<std::byte> bytes = weight_bytes(std::span<const double>(values), dtype);
    REQUIRE(bytes.size() == values.size() * static_cast<std::size_t>(info(dtype).bits) / 8);
    for (std::size_t offset = 0; offset < 9; ++offset) {
      std::string shifted(offset, 'x');
      shifted.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      std::vector<double> doubles(values.size());
      std::vector<float> floats(values.size());
      std::vector<bfloat16> halves(values.size());
      read_weights(dtype, at(shifted, offset), std::span(doubles));
      read_weights(dtype, at(shifted, offset), std::span(floats));
      read_weights(dtype, at(shifted, offset), std::span(halves));
      CHECK(doubles == values);
      CHECK(std::signbit(doubles[1]));
      for (std::size_t i = 0; i < values.size(); ++i) {
        CHECK(static_cast<double>(floats[i]) == values[i]);
        CHECK(static_cast<double>(halves[i].to_float()) == values[i]);
      }
    }
  }
}

TEST_CASE("The same type keeps every bit, NaN's too") {
  const std::string bytes("\x01\x00\xa0\x7f\xff\xff\xff\xff", 8);
  std::vector<float> floats(2);
  read_weights(Dtype::f32, at(bytes, 0), std::span(floats));
  CHECK(std::memcmp(floats.data(), bytes.data(), 8) == 0);
}

TEST_CASE("What is no weight, or not as many") {
  std::vector<float> two(2);
  const std::string bytes(8, '\0');
  CHECK_THAT(message_of([&] { read_weights(Dtype::i32, at(bytes, 0), std::span(two)); }),
             Contains("F64, F32, F16 or BF16, found I32"));
  CHECK_THAT(message_of([&] { read_weights(Dtype::f32, at(bytes, 1), std::span(two)); }),
             Contains("expected 2 weights of F32, found 7 bytes"));
  read_weights(Dtype::f32, {}, std::span<float>());
}

TEST_CASE("tensor_convert: what narrowing makes infinite is named, with its number and the range") {
  const auto said = [](double value, Dtype dtype) {
    const std::vector<double> values{1, value, 2};
    return message_of([&] { finite_weight_bytes("t.weight", std::span<const double>(values), dtype, 100); });
  };
  CHECK(said(70000, Dtype::f16) ==
        "tensor t.weight cannot be written as F16: element 101 is 70000, beyond the largest number, 65504; "
        "take BF16 "
        "or F32");
  CHECK_THAT(said(-1e5, Dtype::f16), Catch::Contains("element 101 is -100000, beyond"));
  CHECK(said(65519, Dtype::f16) == "nothing was thrown");  // rounds to 65504
  CHECK_THAT(said(65520, Dtype::f16), Catch::Contains("beyond"));
  CHECK_THAT(said(3.4e38, Dtype::bf16), Catch::Contains("take a wider type"));
  CHECK_THAT(said(1e39, Dtype::f32), Catch::Contains("take a wider type"));
  CHECK(said(1e300, Dtype::f64) == "nothing was thrown");
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
    CHECK_THAT(said(std::nan(""), dtype), Catch::EndsWith("is nan"));
    CHECK_THAT(said(-std::numeric_limits<double>::infinity(), dtype), Catch::EndsWith("is -inf"));
  }
}
