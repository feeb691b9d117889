// Makes token files from text.
//
//     prepare --bytes bible.txt --split 90,5,5 --out bible.bin
//     prepare --tokenizer llama/ --jsonl --end-token '<|end_of_text|>' web.jsonl --out web.bin
//
// The first writes bible.train.bin, bible.validation.bin and bible.test.bin; without --split, bible.bin
// alone. With --bytes every byte of the text is a token, so nothing is lost, added or normalised, and the
// vocabulary is 256. With --tokenizer each file, or with --jsonl each line, is a document; around it stand
// the special tokens that the tokenizer puts around a text, and --end-token behind it.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "byte_progress.hpp"
#include "command_line.hpp"
#include "load_tokenizer.hpp"
#include "midus/core/random.hpp"
#include "midus/device/machine.hpp"
#include "midus/io/auto_tokenizer.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/io/sha256.hpp"
#include "midus/text/documents.hpp"
#include "midus/tokenizer.hpp"
#include "midus/train/interrupt.hpp"
#include "midus/train/split.hpp"
#include "midus/train/token_file.hpp"
#include "text_files.hpp"

namespace mi = midus;
namespace fs = std::filesystem;

namespace {

struct Options {
  bool bytes = false;
  std::vector<fs::path> texts;
  fs::path out;
  std::string split;
  std::optional<std::uint64_t> shuffle_lines;
  std::string separator;
  fs::path tokenizer;
  bool jsonl = false;
  mi::JsonlFields fields{.text = "text", .prompt = {}, .response = {}};
  std::string end_token;
  mi::Unknown unknown = mi::Unknown::error;
  int threads = 0;
  bool force = false;
};

/// The texts, mapped, as pieces that follow one another.
class Text {
 public:
  explicit Text(const Options& options) : files_(open_texts(options.texts)) {
    for (const mi::MappedFile& file : files_) {
      if (&file != &files_.front()) add(options.separator);
      add(file.text());
      if (!options.bytes && !options.jsonl) warn_of_invalid_utf8(file);
    }
    if (options.shuffle_lines) shuffle_lines(*options.shuffle_lines);
    for (const std::string_view piece : pieces_) size_ += static_cast<mi::Index>(piece.size());
  }

  mi::Index size() const { return size_; }
  const std::vector<std::string_view>& pieces() const { return pieces_; }
  /// The file that a piece, or a part of one, is in; null where it is in none.
  const mi::MappedFile* file_of(std::string_view piece) const {
    for (const mi::MappedFile& file : files_) {
      const std::string_view all = file.text();
      if (!std::less<>()(piece.data(), all.data()) &&
          !std::less<>()(all.data() + all.size(), piece.data() + piece.size()))
        return &file;
    }
    return nullptr;
  }
  /// How many lines end before a position of the whole.
  std::size_t lines_before(mi::Index position) const {
    std::size_t lines = 0;
    for (const std::string_view piece : pieces_) {
      const std::string_view before =
          piece.substr(0, static_cast<std::size_t>(std::max<mi::Index>(position, 0)));
      lines += static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
      position -= static_cast<mi::Index>(piece.size());
    }
    return lines;
  }

 private:
  void add(std::string_view piece) {
    if (!piece.empty()) pieces_.push_back(piece);
  }

  /// The pieces become lines, in an order that depends on the seed and on their number alone.
  void shuffle_lines(std::uint64_t seed) {
    std::vector<std::string_view> lines;
    for (std::string_view text : std::exchange(pieces_, {})) {
      for (std::size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1))
        lines.push_back(text.substr(0, end + 1));
      // A last line without a line feed gets one, or it would run into the line that comes to follow it.
      if (!text.empty()) lines.push_back(completed_.emplace_back(std::string(text) + '\n'));
    }
    const mi::Random random(seed, "prepare.lines");
    for (std::size_t i = lines.size(); i > 1; --i)
      std::swap(lines[i - 1], lines[random.below(static_cast<mi::Index>(i), i)]);
    pieces_ = std::move(lines);
  }

  std::vector<mi::MappedFile> files_;
  std::deque<std::string> completed_;
  std::vector<std::string_view> pieces_;
  mi::Index size_ = 0;
};

/// One file to write, and which bytes of the text it takes.
struct Output {
  fs::path path;
  mi::Range range;
};

std::vector<Output> outputs(const Options& options, const Text& text) {
  if (options.split.empty()) return {{options.out, {0, text.size()}}};
  const std::vector<mi::Range> ranges = mi::split_lines(text.pieces(), mi::parse_percentages(options.split));
  std::vector<Output> outputs;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    fs::path path = options.out;  // data/bible.bin -> data/bible.train.bin
    path.replace_extension("." + std::string(mi::split_names[i]) + options.out.extension().string());
    outputs.push_back({path, ranges[i]});
  }
  return outputs;
}

void check_free(const std::vector<Output>& outputs, const Options& options) {
  std::vector<OutputFile> files;
  for (const Output& output : outputs) {
    std::error_code ignored;
    if (!options.force && fs::exists(output.path, ignored))
      mi::fail(output.path.string(), " exists already; --force replaces it");
    files.push_back({"--out", output.path});
  }
  std::vector<fs::path> inputs = options.texts;
  inputs.push_back(options.tokenizer);
  check_outputs(files, inputs);
}

/// Shows how far the work has come, and answers Ctrl-C.
class Progress {
 public:
  explicit Progress(mi::Index size) : size_(static_cast<std::uint64_t>(size)) {}

  void advance(std::size_t bytes) { line_(done_ += bytes, size_); }
  void end() { line_.end(); }
  bool stopped() const { return interrupt_.requested(); }
  int exit_code() const { return interrupt_.exit_code(); }

 private:
  mi::Interrupt interrupt_{"\nStopping.\n"};
  ByteProgress line_;
  std::uint64_t size_, done_ = 0;
};

/// Calls f(part) for what of each piece of the text lies in `range`.
template <class F>
void for_parts(const Text& text, mi::Range range, F&& f) {
  mi::Index begin = 0;  // of the piece
  for (const std::string_view piece : text.pieces()) {
    const mi::Index end = begin + static_cast<mi::Index>(piece.size());
    const mi::Index from = std::max(begin, range.begin), to = std::min(end, range.end);
    if (from < to)
      f(piece.substr(static_cast<std::size_t>(from - begin), static_cast<std::size_t>(to - from)));
    begin = end;
  }
}

/// Writes tokens as bytes are, or by a tokenizer.
class Tokens {
 public:
  explicit Tokens(const Options& options) : options_(options) {
    if (options.bytes) return;
    mi::refuse_other_models(options.tokenizer);
    const fs::path file =
        fs::is_directory(options.tokenizer) ? options.tokenizer / "tokenizer.json" : options.tokenizer;
    tokenizer_ = load_tokenizer(file);
    if (const std::string reason = mi::why_python_differs(file.parent_path()); !reason.empty())
      std::cerr << "warning: " << reason << "\n";
    if (!options.end_token.empty()) {
      end_ = tokenizer_->id_of(options.end_token);
      if (!end_) mi::fail("--end-token: ", file.string(), " has no token ", mi::in_quotes(options.end_token));
    }
    file_options_ = {.vocabulary = tokenizer_->vocab_size(),
                     .tokenizer = mi::sha256_file(file),
                     .weighted = !options.fields.prompt.empty()};
    pool_ =
        std::make_unique<mi::ThreadPool>(options.threads > 0 ? options.threads : mi::available_processors());
  }

  const mi::TokenFileOptions& file_options() const { return file_options_; }

  /// Writes the part of the text that lies in `range`; stops early where the user wishes so.
  void write(const Text& text, mi::Range range, mi::TokenWriter& writer, Progress& progress) const {
    if (options_.bytes) return write_bytes(text, range, writer, progress);
    mi::DocumentEncoder encoder(
        *tokenizer_, *pool_, {.end = end_, .unknown = options_.unknown},
        [&](std::span<const std::int32_t> ids, std::span<const std::uint8_t> weights) {
          file_options_.weighted ? writer.append(ids, weights) : writer.append(ids);
        },
        [&](std::size_t bytes) {
          progress.advance(bytes);
          return !progress.stopped();
        });
    if (options_.jsonl) {
      const std::string name = options_.texts.size() == 1 ? options_.texts[0].string() : "the texts";
      std::size_t line = options_.shuffle_lines ? 1 : 1 + text.lines_before(range.begin);
      for_parts(text, range, [&](std::string_view part) {
        mi::for_jsonl_documents(part, name, line, options_.fields,
                                [&](const std::vector<mi::JsonlText>& texts) {
                                  std::vector<mi::DocumentPart> document;
                                  for (const mi::JsonlText& each : texts)
                                    document.push_back({encoder.keep(each.text), each.counts, each.place});
                                  encoder.add(document);
                                });
        line += static_cast<std::size_t>(std::count(part.begin(), part.end(), '\n'));
      });
    } else if (options_.shuffle_lines) {  // one document of all lines
      std::string all;
      for_parts(text, range, [&](std::string_view part) { all += part; });
      encoder.add(std::vector<mi::DocumentPart>{
          {.text = encoder.keep(std::move(all)), .place = "the lines in their new order"}});
    } else {
      for_parts(text, range, [&](std::string_view part) {
        const mi::MappedFile* const file = text.file_of(part);
        encoder.add(std::vector<mi::DocumentPart>{
            {.text = part, .place = file->path().string(), .within = file->text()}});
      });
    }
    encoder.flush();
    writer.set_text_bytes(encoder.text_bytes());
    if (encoder.unknown() > 0)
      std::cerr << "warning: " << encoder.unknown() << " characters or bytes have no token and were "
                << (options_.unknown == mi::Unknown::drop ? "left out\n" : "replaced by U+FFFD\n");
  }

 private:
  static void write_bytes(const Text& text, mi::Range range, mi::TokenWriter& writer, Progress& progress) {
    constexpr std::size_t most = std::size_t{1} << 20;
    for_parts(text, range, [&](std::string_view part) {
      while (!part.empty() && !progress.stopped()) {
        const std::string_view chunk = part.substr(0, most);
        writer.append_bytes(chunk);
        progress.advance(chunk.size());
        part.remove_prefix(chunk.size());
      }
    });
  }

  const Options& options_;
  std::optional<mi::Tokenizer> tokenizer_;
  std::optional<std::int32_t> end_;
  mi::TokenFileOptions file_options_;
  std::unique_ptr<mi::ThreadPool> pool_;
};

int prepare(const Options& options) {
  if (options.bytes != options.tokenizer.empty()) mi::fail("give one of --bytes and --tokenizer");
  if (options.bytes && (options.jsonl || !options.end_token.empty()))
    mi::fail("--jsonl and --end-token need --tokenizer");
  if (options.bytes && options.unknown != mi::Unknown::error)
    mi::fail("--unknown needs --tokenizer: every byte has a token with --bytes");
  if (!options.bytes && !options.separator.empty())
    mi::fail("--separator puts bytes between texts; with --tokenizer, --end-token puts a token behind each");
  if (options.fields.prompt.empty() != options.fields.response.empty() ||
      (!options.fields.prompt.empty() && !options.jsonl))
    mi::fail("--prompt-field and --response-field need one another, and --jsonl");
  const Tokens tokens(options);
  const Text text(options);
  const std::vector<Output> files = outputs(options, text);
  check_free(files, options);

  std::vector<mi::TokenWriter> writers;
  Progress progress(text.size());
  try {
    for (const Output& file : files)
      tokens.write(text, file.range, writers.emplace_back(file.path, tokens.file_options()), progress);
  } catch (const mi::UnknownCharacter& error) {
    mi::fail(error.what(),
             "; --unknown drop leaves such characters out, --unknown replace puts U+FFFD there");
  }
  if (progress.stopped()) return progress.exit_code();
  progress.end();
  for (std::size_t i = 0; i < files.size(); ++i)
    if (writers[i].size() == 0)
      mi::fail(files[i].path.string(), " would have no token: its documents are empty");
  // All are complete before the first one takes its place.
  for (std::size_t i = 0; i < files.size(); ++i) {
    writers[i].commit();
    std::cout << files[i].path.string() << ": " << writers[i].size() << " tokens from "
              << files[i].range.size() << " bytes\n";
  }
  return 0;
}

}  // namespace

int main(int argc, char* argv[]) {
  Options options;
  CLI::App app("Makes token files, to train and evaluate on, from text.", "prepare");
  app.add_flag("--bytes", options.bytes, "Every byte of the text is a token (vocabulary 256)");
  app.add_option("--tokenizer", options.tokenizer,
                 "A tokenizer.json, or a model's directory with one; each text gets the special tokens that "
                 "it puts around one")
      ->type_name("PATH");
  auto* const jsonl =
      app.add_flag("--jsonl", options.jsonl, "Each line of the texts is a JSON object with a document");
  auto* const text_field =
      app.add_option("--text-field", options.fields.text, "The member of such an object that holds the text")
          ->capture_default_str()
          ->type_name("NAME")
          ->needs(jsonl);
  app.add_option(
         "--prompt-field", options.fields.prompt,
         "With --response-field in place of --text-field: a document is the one text and then the other, "
         "and the loss counts the tokens of the second only")
      ->type_name("NAME")
      ->excludes(text_field);
  app.add_option("--response-field", options.fields.response, "See --prompt-field")->type_name("NAME");
  app.add_option("--end-token", options.end_token,
                 "The token to put behind each document, such as '<|endoftext|>' (default: none)")
      ->type_name("TOKEN");
  app.add_option_function<std::string>(
         "--unknown",
         [&](const std::string& given) {
           if (given != "error" && given != "drop" && given != "replace")
             mi::fail("--unknown must be error, drop or replace, found ", mi::in_quotes(given));
           options.unknown = given == "error"  ? mi::Unknown::error
                             : given == "drop" ? mi::Unknown::drop
                                               : mi::Unknown::replace;
         },
         "What becomes of a character that has no token, where the vocabulary has no unknown token either: "
         "drop leaves it out, as the library tokenizers does; replace puts U+FFFD in its place")
      ->type_name("{error,drop,replace}")
      ->default_str("error");
  add_threads(app, options.threads);
  app.add_option("TEXT", options.texts, "Text files; several are taken one after another")->required();
  app.add_option("--out", options.out, "The token file to write; it appears when it is complete")
      ->required()
      ->type_name("FILE");
  app.add_option("--split", options.split,
                 "Percentages such as 90,5,5: writes OUT.train.bin, OUT.validation.bin and OUT.test.bin (of "
                 "OUT.bin), cut between lines; two percentages: no test file")
      ->type_name("PERCENT");
  auto* const shuffle = add_number(app, "--shuffle-lines", options.shuffle_lines,
                                   "Put all lines in a random order; the same number gives the same order");
  app.add_option(
         "--separator", options.separator,
         "Put these bytes between one text and the next, as they are: no escapes, so write $'\\n' for a "
         "line feed (default: nothing)")
      ->type_name("BYTES")
      ->excludes(shuffle);
  app.add_flag("--force", options.force, "Replace files that exist already");
  return run_program(app, argc, argv, [&] { return prepare(options); });
}
