#include "midus/core/dtype.hpp"

#include "support/catch.hpp"

namespace midus {
namespace {

constexpr float as_float(std::uint32_t word) { return std::bit_cast<float>(word); }

TEST_CASE("bfloat16: to nearest, ties to even") {
  CHECK(bfloat16::from(1.0f).bits == 0x3f80);
  CHECK(bfloat16::from(-2.5f).bits == 0xc020);
  CHECK(bfloat16::from(0.0f).bits == 0x0000);
  CHECK(bfloat16::from(-0.0f).bits == 0x8000);
  CHECK(bfloat16::from(as_float(0x3f808000)).bits == 0x3f80);  // a tie, down to even
  CHECK(bfloat16::from(as_float(0x3f808001)).bits == 0x3f81);
  CHECK(bfloat16::from(as_float(0x3f818000)).bits == 0x3f82);  // a tie, up to even
  CHECK(bfloat16::from(as_float(0x3f817fff)).bits == 0x3f81);
  CHECK(bfloat16::from(as_float(0x007fffff)).bits == 0x0080);  // a subnormal becomes normal
  CHECK(bfloat16::from(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(bfloat16::from(std::numeric_limits<float>::infinity()).bits == 0x7f80);
}

TEST_CASE("bfloat16: NaN stays NaN, also where all its bits would be cut off") {
  for (const std::uint32_t word : {0x7f800001u, 0xff800001u, 0x7fc00000u, 0xffffffffu})
    CHECK(std::isnan(bfloat16::from(as_float(word)).to_float()));
  CHECK((bfloat16::from(as_float(0xff800001u)).bits & 0x8000) != 0);
}

TEST_CASE("bfloat16: every value survives the way to float and back") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bfloat16 x{static_cast<std::uint16_t>(bits)};
    const bfloat16 back = bfloat16::from(x.to_float());
    if (std::isnan(x.to_float()) ? !std::isnan(back.to_float()) : !(back == x)) FAIL("bits " << bits);
  }
}

TEST_CASE("float16: to nearest, ties to even, overflow to infinity") {
  CHECK(float16::from(1.0f).bits == 0x3c00);
  CHECK(float16::from(-1.5f).bits == 0xbe00);
  CHECK(float16::from(-0.0f).bits == 0x8000);
  CHECK(float16::from(1 + 0x1p-11f).bits == 0x3c00);  // a tie, down to even
  CHECK(float16::from(1 + 0x1p-11f + 0x1p-20f).bits == 0x3c01);
  CHECK(float16::from(1 + 0x3p-11f).bits == 0x3c02);  // a tie, up to even
  CHECK(float16::from(65504.0f).bits == 0x7bff);
  CHECK(float16::from(std::nextafter(65520.0f, 0.0f)).bits == 0x7bff);
  CHECK(float16::from(65520.0f).bits == 0x7c00);
  CHECK(float16::from(-1e30f).bits == 0xfc00);
  CHECK(std::isnan(float16::from(as_float(0x7f800001u)).to_float()));
}

TEST_CASE("float16: subnormals") {
  CHECK(float16::from(0x1p-24f).bits == 0x0001);
  CHECK(float16::from(0x1p-25f).bits == 0x0000);  // a tie, down to even
  CHECK(float16::from(std::nextafter(0x1p-25f, 1.0f)).bits == 0x0001);
  CHECK(float16::from(0x3p-25f).bits == 0x0002);  // a tie, up to even
  CHECK(float16::from(-0x1p-26f).bits == 0x8000);
  CHECK(float16::from(std::nextafter(0x1p-14f, 0.0f)).bits == 0x0400);
  CHECK(float16{0x0001}.to_float() == 0x1p-24f);
  CHECK(float16{0x83ff}.to_float() == -0x3ffp-24f);
}

TEST_CASE("float16: every value survives the way to float and back, in order") {
  float before = -1;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float16 x{static_cast<std::uint16_t>(bits)};
    const float16 back = float16::from(x.to_float());
    if (std::isnan(x.to_float()) ? !std::isnan(back.to_float()) : !(back == x)) FAIL("bits " << bits);
    if (bits <= 0x7c00) {
      if (!(x.to_float() > before)) FAIL("order at " << bits);
      before = x.to_float();
    }
  }
}

TEST_CASE("dtypes: the table is in the order of the enumeration, and names are unique") {
  for (std::size_t i = 0; i < dtypes.size(); ++i) {
    CHECK(static_cast<std::size_t>(dtypes[i].dtype) == i);
    CHECK(dtype_from(dtypes[i].name) == dtypes[i].dtype);
  }
  CHECK(info(Dtype::bf16).bits == 16);
  CHECK(to_string(Dtype::f8_e4m3) == "F8_E4M3");
  CHECK_FALSE(dtype_from("bf16").has_value());
  CHECK_FALSE(dtype_from("").has_value());
}

}  // namespace
}  // namespace midus
