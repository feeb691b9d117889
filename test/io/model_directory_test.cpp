#include "midus/io/model_directory.hpp"

#include "support/catch.hpp"
#include "upscale/files.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("check_target: what must not be replaced") {
  const TemporaryDirectory directory;
  write_random_model(directory / "models/base", base);
  write_random_model(directory / "models/old", base);
  std::filesystem::create_directories(directory / "empty");
  std::filesystem::create_directories(directory / "letters/to");
  std::filesystem::create_directory_symlink("models/base", directory / "link");
  const auto from = directory / "models/base";
  check_target(from, directory / "new", false);
  check_target(from, directory / "empty", false);
  check_target(from, directory / "models/old", true);
  check_target(from / "config.json", directory / "models/old", true);
  const auto refused = [&](const std::string& out, bool force) {
    return message_of([&] { check_target(from, directory / out, force); });
  };
  CHECK(refused("models/old", false).find("exists already") != std::string::npos);
  CHECK(refused("none/../models/old", false).find("exists already") != std::string::npos);
  CHECK(refused("letters", true).find("not a model that may be replaced") != std::string::npos);
  CHECK(refused("models/base", false).find("is " + from.string() + " itself;") != std::string::npos);
  // By other names, also through a directory that is not there until something makes it.
  for (const std::string name :
       {"models/base/", "none/../models/base", "models/none/../base", "./models/.//base",
        "models/old/../base", "link", "none/../link", "none/../link/"})
    CHECK(refused(name, true).find("is " + from.string() + " itself; choose another name") !=
          std::string::npos);
  put_file(directory / "models/config.json", "{}");
  CHECK(refused("models", true).find("holds " + from.string() + " itself;") != std::string::npos);
  CHECK(refused("none/../models", true).find("holds " + from.string() + " itself;") != std::string::npos);
  CHECK(message_of([&] { check_target(from, "", true); }).find("found an empty one") != std::string::npos);
}

TEST_CASE("Other files: what goes with a model, and what stays behind is named") {
  const TemporaryDirectory directory;
  const auto from = directory / "base", to = directory / "new";
  write_random_model(from, base);
  std::filesystem::create_directory(to);
  CHECK(what_stays_behind(from).empty());
  std::filesystem::create_directory(from / "additional_chat_templates");
  for (const std::string name :
       {"tokenizer.json", "chat_template.jinja", "additional_chat_templates/rag.jinja",
        "additional_chat_templates/tool_use.jinja", ".gitattributes"})
    put_file(from / name, "the text of " + name);
  write_other_files(read_other_files(from), to);
  auto expected = all_files(from);
  for (const std::string name : {"config.json", "model.safetensors"}) expected.erase(name);
  CHECK(all_files(to) == expected);
  CHECK(expected.count("additional_chat_templates/rag.jinja") == 1);
  CHECK(what_stays_behind(from).empty());
  put_file(to / "config.json", "{}");
  CHECK(why_not_replace(to, from).empty());
  CHECK(why_not_replace(to, "").empty());

  put_file(from / "adapter_config.json", "{}"), put_file(from / "adapter_model.safetensors", "");
  put_file(from / "large.json", ""), std::filesystem::resize_file(from / "large.json", (64 << 20) + 1);
  put_file(from / "model.gguf", ""), put_file(from / "additional_chat_templates/notes.md", "");
  std::filesystem::create_directory(from / "original");
  put_file(from / "original/params.json", "{}");
  write_other_files(read_other_files(from), to);
  std::filesystem::remove(to / "config.json");
  CHECK(all_files(to) == expected);
  CHECK(what_stays_behind(from) ==
        from.string() +
            ": not copied to the new model: additional_chat_templates/notes.md, large.json (more than "
            "64 MiB), model.gguf, original/");
  put_file(to / "config.json", "{}"), put_file(to / "additional_chat_templates/notes.md", "");
  CHECK(why_not_replace(to, from).find("remove additional_chat_templates/notes.md:") != std::string::npos);
}

TEST_CASE("why_not_replace: what lies beside a model is not removed with it") {
  const TemporaryDirectory directory;
  const auto from = directory / "base", model = directory / "model";
  write_random_model(from, base);
  write_random_model(model, base, Dtype::f32, 200'000);  // in shards
  for (const std::string name : {"tokenizer_config.json", "modeling_midus.py", "README.md", ".gitattributes"})
    put_file(model / name, "of a model");
  CHECK(why_not_replace(model, from).empty());

  put_file(model / "notes.txt", "mine");
  CHECK(why_not_replace(model, from) ==
        model.string() +
            " holds more than a model; replacing it would remove notes.txt: move that away, or "
            "choose another name");
  CHECK_FALSE(why_not_replace(directory / "none/../model", from).empty());
  put_file(from / "notes.txt", "mine");  // the model has it from there, and so would the next
  CHECK(why_not_replace(model, from).empty());
  CHECK_FALSE(why_not_replace(model, "").empty());
  put_file(from / "notes.txt", "m1ne");
  CHECK_FALSE(why_not_replace(model, from).empty());

  put_file(model / "log.jsonl", ""), put_file(model / "pytorch_model.bin", ""), put_file(model / "x", "");
  std::filesystem::create_directory(model / "final");
  CHECK(why_not_replace(model, from)
            .find("remove final/, log.jsonl, notes.txt, pytorch_model.bin and 1 more:") != std::string::npos);
}
