// Makes a byte-level BPE tokenizer from text.
//
//     train_tokenizer text.txt --vocab-size 4096 --out model/
//
// writes model/tokenizer.json, which the `tokenizers` library reads too, and the tokenizer_config.json by
// which `transformers` opens it. Beside a config.json with the same vocab_size they are the beginning of a
// model of your own (see pretrain).
#include <filesystem>
#include <iostream>
#include <string_view>
#include <vector>

#include "command_line.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/tokenizer.hpp"
#include "midus/train/progress.hpp"
#include "text_files.hpp"

namespace mi = midus;
namespace fs = std::filesystem;

namespace {

struct Options {
  std::vector<fs::path> texts;
  fs::path out;
  mi::BpeTraining training;
  bool force = false;
};

/// What `transformers` has to know: to take the tokenizer as it is, whatever the model's type, and which
/// token ends a text.
mi::Json settings(const Options& options) {
  mi::Json json;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  json["clean_up_tokenization_spaces"] = false;
  if (!options.training.special_tokens.empty()) json["eos_token"] = options.training.special_tokens.front();
  return json;
}

int train_tokenizer(const Options& options) {
  const fs::path file = options.out / "tokenizer.json", settings_file = options.out / "tokenizer_config.json";
  for (const fs::path& each : {file, settings_file})
    if (fs::exists(each) && !options.force) mi::fail(each.string(), " exists already; --force replaces it");
  mi::BpeTrainer trainer(options.training);
  const std::vector<mi::MappedFile> texts = open_texts(options.texts);
  mi::make_directories(options.out);
  check_outputs({{"--out", file}, {"--out", settings_file}}, options.texts);
  mi::ProgressLine line;
  for (const mi::MappedFile& text : texts) {
    warn_of_invalid_utf8(text);
    const std::string_view all = text.text();
    constexpr std::size_t piece = std::size_t{1} << 20;
    for (std::size_t begin = 0; begin < all.size();) {  // between lines, a megabyte or so at a time
      const std::size_t feed = begin + piece < all.size() ? all.find('\n', begin + piece) : all.npos;
      const std::size_t end = feed == all.npos ? all.size() : feed + 1;
      trainer.add(all.substr(begin, end - begin));
      begin = end;
      if (line.due(begin == all.size()))
        line.show(mi::text("reading ", text.path().string(), "  ", 100 * begin / all.size(), " %"));
    }
  }
  const mi::Json json = trainer.train([&](mi::Index tokens) {
    if (line.due(tokens == options.training.vocab_size))
      line.show(mi::text(tokens, "/", options.training.vocab_size, " tokens"));
  });
  line.end_line();
  mi::write_file(file, mi::dump_json(json) + "\n");
  mi::write_file(settings_file, mi::dump_json(settings(options)) + "\n");
  const std::size_t tokens = json["model"]["vocab"].size();
  std::cout << file.string() << ": " << tokens << " tokens\n";
  if (static_cast<mi::Index>(tokens) < options.training.vocab_size)
    std::cout << "fewer than " << options.training.vocab_size
              << ": the text has no more pairs of tokens that occur often enough\n";
  return 0;
}

}  // namespace

int main(int argc, char* argv[]) {
  Options options;
  CLI::App app("Makes a byte-level BPE tokenizer from text.", "train_tokenizer");
  app.add_option("TEXT", options.texts, "Text files")->required();
  app.add_option("--out", options.out, "The directory that gets tokenizer.json and tokenizer_config.json")
      ->required()
      ->type_name("DIR");
  add_number(app, "--vocab-size", options.training.vocab_size,
             "Tokens: the special ones, 256 bytes, and merges");
  add_list(app, "--special-tokens", options.training.special_tokens,
           "They get the first ids; the very first one ends a text");
  add_number(app, "--min-frequency", options.training.min_frequency, "Rarer pairs of tokens are not merged",
             1);
  app.add_flag("--force", options.force, "Replace the files that are there");
  return run_program(app, argc, argv, [&] { return train_tokenizer(options); });
}
