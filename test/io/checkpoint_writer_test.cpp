#include "midus/io/checkpoint_writer.hpp"

#include <sys/resource.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "midus/io/checkpoint_files.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::message_of;
using midus::test::TemporaryDirectory;

namespace {

const std::string four = "\x01\x02\x03\x04";
const std::string index_name(weights_index_name);

std::string text_of(const StoredTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

}  // namespace

TEST_CASE("Shards are written and read back") {
  const std::vector<TensorInfo> tensors{{"first", Dtype::f32, {2}}, {"huge", Dtype::u8, {40}},
                                        {"small", Dtype::u8, {1}},  {"other", Dtype::f64, {1}},
                                        {"empty", Dtype::f32, {0}}, {"last", Dtype::f32, {2}}};
  const auto write = [&](const std::filesystem::path& directory, std::uint64_t limit) {
    std::filesystem::create_directories(directory);
    CheckpointWriter writer(directory, tensors, {{"note", "n"}}, limit);
    for (auto tensor = tensors.rbegin(); tensor != tensors.rend(); ++tensor) {
      const std::string bytes(tensor_bytes("", tensor->dtype, tensor->shape), tensor->name[0]);
      writer.write(tensor->name, std::as_bytes(std::span(bytes)));
    }
    writer.commit();
  };
  const auto check = [&](const CheckpointFiles& files) {
    CHECK(files.tensors().size() == tensors.size());
    CHECK(files.warnings().empty());
    for (const TensorInfo& tensor : tensors) {
      CHECK(files.at(tensor.name).dtype == tensor.dtype);
      CHECK(files.at(tensor.name).shape == tensor.shape);
      CHECK(text_of(files.at(tensor.name)) ==
            std::string(tensor_bytes("", tensor.dtype, tensor.shape), tensor.name[0]));
    }
    for (const SafetensorsFile& file : files.files())
      CHECK(file.metadata() == SafetensorsMetadata{{"format", "pt"}, {"note", "n"}});
  };
  const TemporaryDirectory directory;
  write(directory / "one", 65);  // exactly all
  check(CheckpointFiles(directory / "one"));
  CHECK(CheckpointFiles(directory / "one").files().size() == 1);
  CHECK_FALSE(std::filesystem::exists(directory / "one" / index_name));

  write(directory / "four", 16);
  const CheckpointFiles files(directory / "four");
  check(files);
  std::vector<std::string> names;
  for (const SafetensorsFile& file : files.files()) names.push_back(file.path().filename().string());
  CHECK(names ==
        std::vector<std::string>{"model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
                                 "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors"});
  const Json index = read_json_file(directory / "four" / index_name);
  CHECK(index["metadata"]["total_size"] == 65);
  CHECK(index["weight_map"]["huge"] == "model-00002-of-00004.safetensors");
  CHECK(index["weight_map"]["last"] == "model-00004-of-00004.safetensors");

  // What would be read in place of the new files stops the writer.
  CHECK_THAT(message_of([&] { write(directory / "one", 16); }), Contains("model.safetensors is there"));
  CHECK_THAT(message_of([&] { write(directory / "four", 100); }), Contains(index_name + " is there"));
  write(directory / "one", 1000);  // the same kind is replaced
  check(CheckpointFiles(directory / "one"));
}

TEST_CASE("However many shards there are, one is open at a time") {
  const TemporaryDirectory directory;
  std::vector<TensorInfo> tensors;
  for (int i = 0; i < 300; ++i) tensors.push_back({text("t", i), Dtype::f32, {1}});
  ::rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  ::rlimit few = before;
  few.rlim_cur = 40;
  ::setrlimit(RLIMIT_NOFILE, &few);
  const std::string said = message_of([&] {
    CheckpointWriter writer(directory.path(), tensors, {}, 4);
    for (const TensorInfo& tensor : tensors) writer.write(tensor.name, std::as_bytes(std::span(four)));
    writer.commit();
  });
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(said == "nothing was thrown");
  CHECK(CheckpointFiles(directory.path()).files().size() == 300);
}

TEST_CASE("An incomplete model is not committed, not even in part") {
  const TemporaryDirectory directory;
  for (const std::uint64_t limit : {std::uint64_t{8}, std::uint64_t{4}}) {
    CheckpointWriter writer(directory.path(), {{"a", Dtype::f32, {1}}, {"b", Dtype::f32, {1}}}, {}, limit);
    writer.write("a", std::as_bytes(std::span(four)));
    CHECK_THAT(message_of([&] { writer.commit(); }), Contains("tensor \"b\": expected 4 bytes, found 0"));
    CHECK_THAT(message_of([&] { writer.write("c", {}); }), Contains("tensor \"c\" was not announced"));
  }
  CHECK(std::filesystem::is_empty(directory.path()));
  CHECK_THAT(
      message_of([&] {
        CheckpointWriter writer(directory.path(), {{"a", Dtype::f32, {1}}, {"a", Dtype::f32, {1}}}, {}, 4);
      }),
      Contains("\"a\" occurs twice"));
}

TEST_CASE(
    "checkpoint_writer: a number that is not finite is refused with its tensor and its place, in every "
    "type") {
  TemporaryDirectory directory;
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16})
    for (const double bad : {inf, -inf, std::nan("")})
      for (const std::size_t at : {0u, 5u, 9u}) {
        CheckpointWriter writer(directory.path(), {{"a", dtype, {10}}});
        std::vector<double> values(10, 1);
        values[at] = bad;
        const auto bytes = weight_bytes(std::span<const double>(values), dtype);
        const std::size_t half = bytes.size() / 2;
        const auto write = [&] {  // in pieces
          writer.write("a", std::span(bytes).first(half));
          writer.write("a", std::span(bytes).subspan(half));
        };
        CHECK_THROWS_WITH(write(),
                          Catch::Contains("tensor \"a\" is not written: its element " + std::to_string(at)));
      }
  CheckpointWriter writer(directory.path(), {{"a", Dtype::i64, {1}}});  // no weights: any bytes
  CHECK_NOTHROW(writer.write("a", std::vector<std::byte>(8, std::byte{0xff})));
}
