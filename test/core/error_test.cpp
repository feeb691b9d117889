#include "midus/core/error.hpp"

#include "support/catch.hpp"

namespace midus {
namespace {

TEST_CASE("error: the message is its parts") {
  try {
    fail("widths ", 1234567, " and ", 0.5, " do not fit '", std::string("x"), "'");
    FAIL("did not throw");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "widths 1234567 and 0.5 do not fit 'x'");
  }
}

struct Grouping : std::numpunct<char> {
  char do_thousands_sep() const override { return '.'; }
  char do_decimal_point() const override { return ','; }
  std::string do_grouping() const override { return "\3"; }
};

TEST_CASE("error: numbers look the same whatever the program's locale is") {
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Grouping));
  const std::string message = text(1234567, " ", 1.5);
  std::locale::global(before);
  CHECK(message == "1234567 1.5");
}

}  // namespace
}  // namespace midus
