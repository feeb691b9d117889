#include "midus/io/sha256.hpp"

#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;

namespace {

std::string sha256(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return to_hex(hash.digest());
}

}  // namespace

TEST_CASE("The known answers of FIPS 180-4") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("Pieces of any length, and every way to fill the last block") {
  // From Python's hashlib: the hash of the hashes (as hexadecimal text) of "x" * n for n < 200.
  Sha256 all;
  for (std::size_t n = 0; n < 200; ++n) {
    const std::string whole(n, 'x');
    Sha256 pieces;
    for (std::size_t i = 0, step = 1; i < n; i += step, step = step % 7 + 1)
      pieces.update(std::string_view(whole).substr(i, step));
    const std::string hex = to_hex(pieces.digest());
    CHECK(hex == sha256(whole));
    all.update(hex);
  }
  CHECK(to_hex(all.digest()) == "f61ffcc417e1f0e59eba2da7fa32fbe05b64e478b68c6bacf990455f00248b98");
}

TEST_CASE("A file") {
  const test::TemporaryDirectory directory;
  CHECK(to_hex(sha256_file(test::put_file(directory / "f", "abc"))) == sha256("abc"));
  CHECK(to_hex(sha256_file(test::put_file(directory / "f", ""))) == sha256(""));
}
