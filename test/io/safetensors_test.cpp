#include "midus/io/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "io/one_tensor.hpp"
#include "midus/core/random.hpp"
#include "midus/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::four;
using midus::test::message_of;
using midus::test::one_tensor;
using midus::test::put_file;
using midus::test::raw_safetensors;
using midus::test::refusal;
using midus::test::TemporaryDirectory;

namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("A written file reads back: every dtype, rank 0, empty tensors, metadata") {
  const TemporaryDirectory directory;
  std::vector<test::TestTensor> tensors;
  for (const DtypeInfo& entry : dtypes) {
    const Index elements = 24;  // whole bytes also for F4 and F6
    std::string bytes(static_cast<std::size_t>(elements * entry.bits / 8), '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + bytes.size());
    tensors.push_back({"some." + std::string(entry.name), entry.dtype, {2, 3, 4}, bytes});
    tensors.push_back({"empty." + std::string(entry.name), entry.dtype, {5, 0, 7}, ""});
  }
  tensors.push_back({"scalar", Dtype::f32, {}, four});
  tensors.push_back({"\u00fc \"quoted\" \\ name\n", Dtype::u8, {1}, "x"});
  const auto path = directory / "all.safetensors";
  test::write_checkpoint_file(path, tensors, {{"note", "kept \u2713"}, {"format", "np"}});

  const SafetensorsFile file(path);
  REQUIRE(file.tensors().size() == tensors.size());
  for (const auto& tensor : tensors) {
    INFO(tensor.name);
    const StoredTensor& stored = file.at(tensor.name);
    CHECK(stored.dtype == tensor.dtype);
    CHECK(stored.shape == tensor.shape);
    CHECK(text_of(stored.bytes) == tensor.bytes);
  }
  CHECK(file.metadata() == SafetensorsMetadata{{"format", "pt"}, {"note", "kept \u2713"}});
  CHECK(file.find("nowhere") == nullptr);
  CHECK_THAT(message_of([&] { file.at("nowhere"); }),
             Contains("all.safetensors: tensor \"nowhere\" is missing"));
}

TEST_CASE("LD-02: offsets that are negative, inverted, too many, too few or no integers") {
  const TemporaryDirectory directory;
  for (const char* offsets : {"[-4,0]",
                              "[8,4]",
                              "[4,0]",
                              "[0]",
                              "[0,4,8]",
                              "[]",
                              "[0,4.5]",
                              R"(["0","4"])",
                              "[18446744073709551612,0]",
                              "[0,18446744073709551620]",
                              "[0,18446744073709551612]",
                              "[4,8]",
                              "[1,5]",
                              "[0,3]",
                              "[0,5]",
                              "[0,4e0]",
                              "[-0,4]",
                              "[[0,4]]",
                              "null",
                              "4",
                              "{\"0\":4}"}) {
    INFO(offsets);
    const std::string said =
        refusal(directory,
                raw_safetensors(
                    one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":)" + std::string(offsets)), four));
    CHECK_THAT(said, Contains("m.safetensors") && Contains("tensor \"a\"") && Contains("data_offsets"));
  }
}

TEST_CASE("LD-06: data that are aligned to nothing") {
  const TemporaryDirectory directory;
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  for (std::size_t blanks = 0; blanks < 9; ++blanks) {
    put_file(directory / "m", raw_safetensors(one_tensor(good) + std::string(blanks, ' '), four));
    const SafetensorsFile file(directory / "m");
    CHECK(text_of(file.at("a").bytes) == four);
  }
  put_file(directory / "m", raw_safetensors(R"({"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                            R"("a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                                            "x" + four));
  CHECK(text_of(SafetensorsFile(directory / "m").at("a").bytes) == four);
}

TEST_CASE("LD-04: a file cut after any byte is refused, and so is one with a byte too many") {
  const TemporaryDirectory directory;
  test::write_checkpoint_file(directory / "whole", {{"a", Dtype::f32, {3}, four + four + four},
                                                    {"b", Dtype::bf16, {2, 2}, four + four},
                                                    {"c", Dtype::u8, {}, "x"},
                                                    {"d", Dtype::f32, {0}, ""}});
  const std::string whole = test::file_bytes(directory / "whole");
  REQUIRE(refusal(directory, whole) == "nothing was thrown");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    INFO(length);
    CHECK_THAT(refusal(directory, whole.substr(0, length)), Contains("m.safetensors"));
  }
  CHECK_THAT(refusal(directory, whole + "x"), Contains("expected 21 bytes") && Contains("found 22"));
  CHECK_THAT(refusal(directory, whole.substr(0, whole.size() - 1)),
             Contains("found 20") && Contains("inside tensor \"c\""));
}

TEST_CASE("Random changes of a file: a sentence, or a file that is whole") {
  const TemporaryDirectory directory;
  test::write_checkpoint_file(directory / "whole",
                              {{"a", Dtype::f32, {3}, four + four + four},
                               {"b.weight", Dtype::bf16, {2, 2}, four + four},
                               {"c", Dtype::u8, {1}, "x"}},
                              {{"note", "text"}});
  const std::string whole = test::file_bytes(directory / "whole");
  const std::string tokens[] = {"{",
                                "}",
                                "[",
                                "]",
                                "\"",
                                ",",
                                ":",
                                "0",
                                "-1",
                                "1e9",
                                "99999999999999999999",
                                "null",
                                "\\u0000",
                                "\\ud800",
                                "\xff",
                                "\"a\":",
                                "F64",
                                "[0,4]",
                                " "};
  const Random random(6, "mutants");
  int accepted = 0;
  for (Index mutant = 0; mutant < 5000; ++mutant) {
    std::string bytes = whole;
    const std::uint64_t changes = 1 + random.below(mutant * 100, 4);
    for (std::uint64_t change = 0; change < changes; ++change) {
      const Index at = mutant * 100 + 1 + static_cast<Index>(change) * 4;
      const std::size_t where = random.below(at, bytes.size() + 1);
      const std::string& token = tokens[random.below(at + 1, std::size(tokens))];
      switch (random.below(at + 2, 4)) {
        case 0:
          bytes.insert(where, token);
          break;
        case 1:
          bytes.erase(where, 1 + random.below(at + 3, 6));
          break;
        case 2:
          bytes.replace(where, std::min(token.size(), bytes.size() - where), token);
          break;
        default:
          if (where < bytes.size())
            bytes[where] =
                static_cast<char>(static_cast<unsigned char>(bytes[where]) ^ (1u << random.below(at + 3, 8)));
      }
      // Half of the mutants get a length that fits, so that the change is seen by the checks behind it.
      if (mutant % 2 == 0 && bytes.size() >= 8 && bytes.size() > whole.size() - 21) {
        const std::uint64_t length =
            std::min(bytes.size() - 8, whole.size() - 8 - 21 + (bytes.size() - whole.size()));
        std::memcpy(bytes.data(), &length, sizeof length);
      }
    }
    put_file(directory / "m", bytes);
    try {
      const SafetensorsFile file(directory / "m");
      ++accepted;
      unsigned sum = 0;  // every byte that it promises can be read
      for (const auto& [name, tensor] : file.tensors())
        for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
      CHECK(sum < 256 * bytes.size());
    } catch (const Error& error) {
      if (std::string_view(error.what()).find((directory / "m").string()) == std::string_view::npos)
        FAIL(error.what());
    }
  }
  CHECK(accepted > 100);   // changes of data bytes, at least
  CHECK(accepted < 4000);  // most others are not files any more
}
