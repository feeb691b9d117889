#include "midus/io/checkpoint_files.hpp"

#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::message_of;
using midus::test::put_file;
using midus::test::TemporaryDirectory;
using midus::test::write_checkpoint_file;

namespace {

const std::string four = "\x01\x02\x03\x04";
const std::string index_name(weights_index_name);

std::string refusal(const std::filesystem::path& directory) {
  return message_of([&] { CheckpointFiles files(directory); });
}

/// Two shards with "a" and "b", and their index.
void put_two_shards(const std::filesystem::path& directory) {
  write_checkpoint_file(directory / "x-1.safetensors", {{"a", Dtype::f32, {1}, four}});
  write_checkpoint_file(directory / "x-2.safetensors", {{"b", Dtype::f32, {1}, "wxyz"}});
  put_file(directory / index_name, R"({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}})");
}

std::string text_of(const StoredTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

}  // namespace

TEST_CASE("Which files are the model: one file, or shards, never both") {
  const TemporaryDirectory directory;
  CHECK_THAT(refusal(directory.path()), Contains(directory.path().string()) && Contains("found neither"));
  put_file(directory / "pytorch_model.bin", "");
  CHECK_THAT(refusal(directory.path()), Contains("pytorch_model.bin must be converted"));
  CHECK_THAT(refusal(directory / "nowhere"), Contains("expected the directory of a model"));
  CHECK_THAT(refusal(directory / "pytorch_model.bin"), Contains("expected the directory of a model"));
  const auto adapter = directory / "adapter_config.json";
  put_file(adapter, "{}");
  CHECK_THAT(refusal(directory.path()),
             Contains("found an adapter of PEFT (adapter_config.json); midus has no"));
  put_two_shards(directory.path());
  CHECK_THAT(refusal(directory.path()),
             Contains("beside its weights, which transformers then applies to them") &&
                 Contains("merge_and_unload"));
  std::filesystem::remove(adapter);

  put_two_shards(directory.path());
  {
    const CheckpointFiles files(directory.path());
    CHECK(files.files().size() == 2);
    CHECK(files.tensors().size() == 2);
    CHECK(text_of(files.at("a")) == four);
    CHECK(text_of(files.at("b")) == "wxyz");
    CHECK(files.find("c") == nullptr);
    CHECK_THAT(message_of([&] { files.at("c"); }), Contains("tensor \"c\" is missing"));
    CHECK(files.where("b") == (directory / "x-2.safetensors").string() + ": tensor \"b\"");
    CHECK(files.warnings().empty());
    CHECK(files.metadata().at("format") == "pt");
  }
  write_checkpoint_file(directory / "model.safetensors", {{"a", Dtype::f32, {1}, "only"}});
  CheckpointFiles first(directory.path());
  const CheckpointFiles files = std::move(first);  // tensors stay valid
  REQUIRE(files.files().size() == 1);
  CHECK(files.files().front().path() == directory / "model.safetensors");
  CHECK(text_of(files.at("a")) == "only");
  CHECK(files.find("b") == nullptr);
  REQUIRE(files.warnings().size() == 1);
  CHECK_THAT(files.warnings()[0], Contains(index_name + " is not used: model.safetensors is beside it"));
}

TEST_CASE("LD-04: a shard that was cut off is refused when the model is opened, whichever it is") {
  const TemporaryDirectory directory;
  const std::vector<std::pair<std::string, std::string>> shards = {{"x-1.safetensors", "a"},
                                                                   {"x-2.safetensors", "b"}};
  for (const auto& [shard, tensor] : shards) {
    put_two_shards(directory.path());
    const std::string whole = test::file_bytes(directory / shard);
    put_file(directory / shard, whole.substr(0, whole.size() - 1));
    CHECK_THAT(refusal(directory.path()), Contains(shard + ": expected 4 bytes") &&
                                              Contains("found 3; the file ends inside tensor \"" + tensor));
  }
}

TEST_CASE("LD-04: a file that lacks a page of its data, or nearly all") {
  const TemporaryDirectory directory;
  const auto path = directory / "model.safetensors";
  write_checkpoint_file(path, {{"a", Dtype::f32, {2, 1000}, std::string(8000, 'x')}});
  const std::string whole = test::file_bytes(path);
  for (const auto& [kept, found] :
       {std::pair{whole.size() - 4096, "found 3904;"}, std::pair{whole.size() - 8000 + 4, "found 4;"}}) {
    put_file(path, whole.substr(0, kept));
    CHECK_THAT(refusal(directory.path()),
               Contains("model.safetensors: expected 8000 bytes") && Contains(found) && Contains("\"a\""));
  }
  put_file(path, test::raw_safetensors(
                     R"({"a":{"dtype":"F32","shape":[1000,1000],"data_offsets":[0,4000000]}})", four));
  CHECK_THAT(refusal(directory.path()), Contains("expected 4000000 bytes") && Contains("found 4;"));
}

TEST_CASE("LD-08: file names out of an index stay in the directory") {
  const TemporaryDirectory parent;
  std::filesystem::create_directories(parent / "model/sub");
  std::filesystem::create_directories(parent / "other");
  const auto directory = parent / "model";
  write_checkpoint_file(parent / "other/model.safetensors", {{"a", Dtype::f32, {1}, four}});
  write_checkpoint_file(parent / "x.safetensors", {{"a", Dtype::f32, {1}, four}});
  write_checkpoint_file(directory / "sub/in.safetensors", {{"a", Dtype::f32, {1}, four}});
  const auto with = [&](const std::string& name) {
    put_file(directory / index_name, R"({"weight_map": {"a": )" + name + "}}");
    return refusal(directory);
  };
  for (const std::string name :
       {R"("../other/model.safetensors")", R"("/etc/hostname")", R"("sub/../../x.safetensors")", R"("")",
        R"(".")", R"("..")", R"("./sub/in.safetensors")", R"("sub/")", R"("model.safetensors\u0000.txt")",
        "7", "null", "[]", R"("sub/../sub/in.safetensors")"}) {
    INFO(name);
    CHECK_THAT(with(name), Contains(index_name + ": weight_map entry \"a\": expected"));
  }
  CHECK_THAT(with(R"("../other/model.safetensors")"), Contains("found \"../other/model.safetensors\""));
  CHECK_THAT(with(R"("none.safetensors")"),
             Contains("puts \"a\" into \"none.safetensors\"; there is no such file"));
  CHECK_THAT(with(R"("sub")"), Contains("found a directory"));
  CHECK(with(R"("sub/in.safetensors")") == "nothing was thrown");
  std::filesystem::create_symlink("../other/model.safetensors", directory / "link.safetensors");
  CHECK(with(R"("link.safetensors")") == "nothing was thrown");
}

TEST_CASE("An index and its shards must agree") {
  const TemporaryDirectory directory;
  put_two_shards(directory.path());
  const auto with = [&](const std::string& index) {
    put_file(directory / index_name, index);
    return refusal(directory.path());
  };
  CHECK_THAT(with("[]"), Contains(index_name + ": the file must be an object"));
  CHECK_THAT(with("{}"), Contains("\"weight_map\" is missing"));
  CHECK_THAT(with(R"({"weight_map": []})"), Contains("\"weight_map\" must be an object"));
  CHECK_THAT(with(R"({"weight_map": {}})"), Contains("weight_map names no file"));
  CHECK_THAT(with(R"({"weight_map": {"a": "x-1.safetensors", "a": "x-2.safetensors"}})"),
             Contains("\"a\" occurs twice"));
  CHECK_THAT(with(R"({"weight_map": {"a": "x-2.safetensors", "b": "x-1.safetensors"}})"),
             Contains("puts \"a\" into \"x-2.safetensors\"; found it in ") && Contains("x-1.safetensors"));
  CHECK_THAT(with(R"({"weight_map": {"a": "x-1.safetensors", "z": "x-1.safetensors"}})"),
             Contains("puts \"z\" into \"x-1.safetensors\"; found it in no shard"));

  // A tensor that the index does not name is there all the same, with a warning; one in two shards is an
  // error.
  write_checkpoint_file(directory / "x-2.safetensors",
                        {{"b", Dtype::f32, {1}, four}, {"c", Dtype::f32, {1}, four}});
  CHECK(with(R"({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}})") == "nothing was thrown");
  const CheckpointFiles files(directory.path());
  CHECK(files.find("c") != nullptr);
  REQUIRE(files.warnings().size() == 1);
  CHECK_THAT(files.warnings()[0], Contains("x-2.safetensors: tensor \"c\" is not named by the index"));
  write_checkpoint_file(directory / "x-2.safetensors",
                        {{"b", Dtype::f32, {1}, four}, {"a", Dtype::f32, {1}, four}});
  CHECK_THAT(refusal(directory.path()),
             Contains("x-2.safetensors: tensor \"a\" is also in ") && Contains("x-1.safetensors"));
}
