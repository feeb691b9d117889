#include "midus/io/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "midus/core/random.hpp"
#include "midus/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::message_of;
using midus::test::put_file;
using midus::test::raw_safetensors;
using midus::test::TemporaryDirectory;

namespace {

const std::string four = "\x01\x02\x03\x04";

std::string one_tensor(const std::string& members) { return R"({"a":{)" + members + "}}"; }

/// What opening a file of these bytes says.
std::string refusal(const TemporaryDirectory& directory, const std::string& bytes) {
  const auto path = put_file(directory / "m.safetensors", bytes);
  return message_of([&] { SafetensorsFile file(path); });
}

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

TEST_CASE("The bytes of a written file are those of the format") {
  const TemporaryDirectory directory;
  test::write_checkpoint_file(directory / "w", {{"b", Dtype::u8, {1}, "x"},
                                                {"z", Dtype::f32, {1}, four},
                                                {"a", Dtype::bf16, {2, 1}, four},
                                                {"c", Dtype::f32, {0}, ""}});
  std::string header =
      R"({"__metadata__":{"format":"pt"},"c":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
      R"("z":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("a":{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  CHECK(test::file_bytes(directory / "w") == raw_safetensors(header, four + four + "x"));
}

TEST_CASE("No tensors at all is a file") {
  const TemporaryDirectory directory;
  test::write_checkpoint_file(directory / "none", {});
  CHECK(SafetensorsFile(directory / "none").tensors().empty());
  CHECK(refusal(directory, raw_safetensors("{}", "")) == "nothing was thrown");
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

TEST_CASE("Each violation names the file, the tensor, what was expected and what was found") {
  const TemporaryDirectory directory;
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  const auto says = [&](const std::string& header, const std::string& data, const std::string& expected) {
    INFO(header);
    CHECK_THAT(refusal(directory, raw_safetensors(header, data)),
               Contains("m.safetensors") && Contains(expected));
  };
  REQUIRE(refusal(directory, raw_safetensors(one_tensor(good), four)) == "nothing was thrown");

  // The first eight bytes and the frame.
  CHECK_THAT(refusal(directory, ""), Contains("expected at least 8 bytes") && Contains("found 0"));
  CHECK_THAT(refusal(directory, "1234567"), Contains("found 7"));
  CHECK_THAT(refusal(directory, "\xff\xff\xff\xff\xff\xff\xff\xff{}"),
             Contains("at most 100000000 bytes, found 18446744073709551615"));
  CHECK_THAT(refusal(directory, std::string("\x03\0\0\0\0\0\0\0{}", 10)),
             Contains("the header takes 3 bytes; the file has only 2"));
  says("", "", "found an empty one");
  says(" {}", "", "begins with {, found \" \"");
  says("[]", "", "begins with {, found \"[\"");
  says("\xef\xbb\xbf{}", "", "begins with {");
  // Not JSON.
  says("{", "", "line 1, column 1: not JSON");
  says(one_tensor(good) + "x", four, "line 1, column 55: not JSON");
  says(one_tensor(good) + std::string("\0 ", 2), four, "line 1, column 55: not JSON: a zero byte");
  says("{\n\"a\":}", "", "line 2, column 5: not JSON");
  says("{\"a\xff\":1}", "", "not JSON");
  says(one_tensor(R"("dtype":NaN)"), "", "not JSON");
  // A tensor's members.
  for (const char* value : {"1", "null", "true", "-1", "1.5", "\"F32\"", "[]"})
    says(R"({"a":)" + std::string(value) + "}", "",
         "tensor \"a\": must be an object with dtype, shape and data_offsets");
  says(one_tensor(R"("shape":[1],"data_offsets":[0,4])"), four, "tensor \"a\": dtype is missing");
  says(one_tensor(R"("dtype":"F32","data_offsets":[0,4])"), four, "tensor \"a\": shape is missing");
  says(one_tensor(R"("dtype":"F32","shape":[1])"), four, "tensor \"a\": data_offsets is missing");
  says(one_tensor(R"("dtype":"F33","shape":[1],"data_offsets":[0,4])"), four, "found \"F33\"");
  says(one_tensor(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])"), four, "found \"f32\"");
  says(one_tensor(R"("dtype":32,"shape":[1],"data_offsets":[0,4])"), four,
       "dtype must be one of safetensors' types, found 32");
  says(one_tensor(R"("dtype":"F32","shape":1,"data_offsets":[0,4])"), four,
       "shape must be a list of integers");
  says(one_tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), four, "found -1");
  says(one_tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), four, "found 1.0");
  says(one_tensor(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), four, "found a list");
  says(one_tensor(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4])"), four,
       "found 9223372036854775808");
  // Names twice, also through an escape.
  says(R"({"a":{)" + good + R"(},"\u0061":{)" + good + "}}", four, "\"a\" occurs twice");
  says(one_tensor(good + R"(,"dtype":"F32")"), four, "tensor \"a\": dtype occurs twice");
  says(one_tensor(good + R"(,"shape":[1])"), four, "tensor \"a\": shape occurs twice");
  says(one_tensor(good + R"(,"data_offsets":[0,4])"), four, "tensor \"a\": data_offsets occurs twice");
  // Metadata.
  says(R"({"__metadata__":{"k":1}})", "", "__metadata__: \"k\" must be a text, found 1");
  says(R"({"__metadata__":{"k":null}})", "", "__metadata__: \"k\" must be a text, found null");
  says(R"({"__metadata__":{"k":{}}})", "", "__metadata__: \"k\" must be a text, found an object");
  says(R"({"__metadata__":[]})", "", "__metadata__ must map texts to texts, found a list");
  says(R"({"__metadata__":null})", "", "__metadata__ must map texts to texts, found null");
  says(R"({"__metadata__":{"k":"1","k":"1"}})", "", "__metadata__: the key \"k\" occurs twice");
  says(R"({"__metadata__":{},"__metadata__":{}})", "", "\"__metadata__\" occurs twice");
  // Sizes.
  says(one_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), four,
       "tensor \"a\": shape [2] of F32 takes 8 bytes; data_offsets [0, 4] hold 4");
  says(one_tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), "",
       "larger than any file");
  says(one_tensor(R"("dtype":"F64","shape":[1152921504606846976,2],"data_offsets":[0,0])"), "",
       "larger than any file");
  says(one_tensor(R"("dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0])"), "",
       "larger than any file");
  says(one_tensor(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"), "x",
       "takes 12 bits; expected whole bytes");
  says(one_tensor(R"("dtype":"F6_E2M3","shape":[2],"data_offsets":[0,1])"), "x", "takes 12 bits");
  // Holes, overlaps, and the file's length.
  const std::string second = R"("b":{"dtype":"F32","shape":[1],"data_offsets":)";
  says(R"({"a":{)" + good + "}," + second + "[5,9]}}", four + four + "x",
       "tensor \"b\": data_offsets [5, 9] must begin at 4");
  says(R"({"a":{)" + good + "}," + second + "[3,7]}}", four + "xyz",
       "tensor \"b\": data_offsets [3, 7] must begin at 4");
  says(R"({"a":{)" + good + "}," + second + "[0,4]}}", four,
       "tensor \"b\": data_offsets [0, 4] must begin at 4");
  says(one_tensor(good), "",
       "expected 4 bytes of tensors after 62 of header, found 0; the file ends inside tensor \"a\"");
  says(one_tensor(good), four + "x", "expected 4 bytes of tensors after 62 of header, found 5");
  says("{}", "x", "expected 0 bytes of tensors after 10 of header, found 1");
  says(one_tensor(R"("dtype":"F32","shape":[1000,1000],"data_offsets":[0,4000000])"), four,
       "expected 4000000 bytes of tensors after 76 of header, found 4; the file ends inside tensor \"a\"");
  // What a terminal would not like.
  says(R"({"a\u001b[2J)" + std::string(500, 'a') + R"(":1})", "", "tensor \"a\\u001b[2Jaaa");
  CHECK(refusal(directory, raw_safetensors(R"({")" + std::string(100'000, 'a') + R"(":1})", "")).size() <
        500);
}

TEST_CASE("What the reference accepts is accepted") {
  const TemporaryDirectory directory;
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  for (const std::string& header : {
           one_tensor(good) + "     ",
           one_tensor(R"("data_offsets":[0,4],"shape":[1],"dtype":"F32")"),
           one_tensor(R"("dtype":"F32","shape":[],"data_offsets":[0,4])"),
           one_tensor(R"("dtype":"F4","shape":[8],"data_offsets":[0,4])"),
           one_tensor(good +
                      R"(,"x":1,"y":[{"dtype":[[]]},"z",null,-1,1.5,true],"w":{"shape":{"a":[]}},"v":null)"),
           R"({"__metadata__":{},"e":{"dtype":"F64","shape":[0],"data_offsets":[4,4]},"a":{)" + good +
               R"(},"d":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}})",
           one_tensor(R"("dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]},"b":{)" + good),
       }) {
    INFO(header);
    CHECK(refusal(directory, raw_safetensors(header, four)) == "nothing was thrown");
  }
}

TEST_CASE("A hostile header costs neither memory nor stack") {
  const TemporaryDirectory directory;
  const std::string open = one_tensor(R"("x":)" + std::string(5'000'000, '['));
  CHECK_THAT(refusal(directory, raw_safetensors(open, "")), Contains("not JSON"));
  std::string extents = "0";
  for (int i = 0; i < 1'000'000; ++i) extents += ",0";
  CHECK_THAT(
      refusal(directory, raw_safetensors(one_tensor(R"("dtype":"F32","shape":[)" + extents + "]"), "")),
      Contains("tensor \"a\": more than 64 extents"));
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

TEST_CASE("What the writer refuses") {
  const TemporaryDirectory directory;
  const auto path = directory / "w";
  const auto write = [&](std::vector<TensorInfo> tensors) {
    return message_of([&] { SafetensorsWriter writer(path, std::move(tensors)); });
  };
  CHECK_THAT(write({{"a", Dtype::f32, {1}}, {"a", Dtype::f32, {1}}}),
             Contains("w: tensor \"a\" occurs twice"));
  CHECK_THAT(write({{"__metadata__", Dtype::f32, {1}}}), Contains("taken by the format"));
  CHECK_THAT(write({{"a", Dtype::f32, {-1}}}), Contains("negative"));
  CHECK_THAT(write({{"a", Dtype::f4, {3}}}), Contains("12 bits"));
  CHECK_THAT(
      write({{"a", Dtype::u8, {Index{1} << 62}}, {"b", Dtype::u8, {Index{1} << 62}}, {"c", Dtype::u8, {1}}}),
      Contains("larger than any file"));
  CHECK_THAT(write({{"a\xff", Dtype::f32, {1}}}), Contains("not UTF-8"));

  SafetensorsWriter writer(path, {{"a", Dtype::f32, {1}}, {"b", Dtype::f32, {2}}});
  const auto bytes = std::as_bytes(std::span(four));
  CHECK_THAT(message_of([&] { writer.write("c", bytes); }), Contains("\"c\" was not announced"));
  writer.write("b", bytes);
  CHECK_THAT(message_of([&] { writer.commit(); }), Contains("tensor \"a\": expected 4 bytes, found 0"));
  writer.write("a", bytes);
  CHECK_THAT(message_of([&] { writer.write("a", bytes); }),
             Contains("tensor \"a\": expected 4 bytes, found 8"));
  CHECK_THAT(message_of([&] { writer.commit(); }), Contains("tensor \"b\": expected 8 bytes, found 4"));
  CHECK_FALSE(std::filesystem::exists(path));
  writer.write("b", bytes);  // the second half
  writer.commit();
  CHECK(text_of(SafetensorsFile(path).at("b").bytes) == four + four);
}
