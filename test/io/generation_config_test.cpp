#include "midus/io/generation_config.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

TEST_CASE("generation_config: its end tokens come before those of config.json") {
  const TemporaryDirectory directory;
  LlamaConfig config;
  config.vocab_size = 10;
  config.eos_token_ids = {5};
  using Ids = std::vector<Index>;
  CHECK(read_end_tokens(directory.path(), config) == Ids{5});
  const auto with = [&](const std::string& json) {
    put_file(directory / "generation_config.json", json);
    return read_end_tokens(directory.path(), config);
  };
  CHECK(with(R"({"eos_token_id": [5, 9], "temperature": 0.6})") == Ids{5, 9});
  CHECK(with(R"({"eos_token_id": 9})") == Ids{9});
  CHECK(with(R"({"eos_token_id": null})") == Ids{5});
  CHECK(with(R"({"temperature": 0.6})") == Ids{5});
  CHECK_THAT(message_of([&] { with(R"({"eos_token_id": [5, 10]})"); }),
             Contains("generation_config.json") && Contains("eos_token_id") && Contains("10"));
  CHECK_THAT(message_of([&] { with("{"); }), Contains("generation_config.json") && Contains("not JSON"));
  std::filesystem::remove(directory / "generation_config.json");
  std::filesystem::create_symlink("generation_config.json", directory / "generation_config.json");
  CHECK_THAT(message_of([&] { read_end_tokens(directory.path(), config); }),
             Contains("generation_config.json: Too many levels of symbolic links"));
}
