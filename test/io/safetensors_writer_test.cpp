#include "midus/io/safetensors_writer.hpp"

#include <string>
#include <vector>

#include "midus/io/safetensors.hpp"
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

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

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

TEST_CASE("No tensors at all is a file") {
  const TemporaryDirectory directory;
  test::write_checkpoint_file(directory / "none", {});
  CHECK(SafetensorsFile(directory / "none").tensors().empty());
  CHECK(SafetensorsFile(put_file(directory / "none", raw_safetensors("{}", ""))).tensors().empty());
}
