// Makes token files from text.
//
//     prepare --bytes bible.txt --split 90,5,5 --out bible.bin
//
// writes bible.train.bin, bible.validation.bin and bible.test.bin; without --split, bible.bin alone. Every
// byte of the text is a token, so nothing is lost, added or normalised, and the vocabulary is 256.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "midus/core/random.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/train/interrupt.hpp"
#include "midus/train/progress.hpp"
#include "midus/train/split.hpp"
#include "midus/train/token_file.hpp"

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
  bool force = false;
};

/// The texts, mapped, as pieces that follow one another.
class Text {
 public:
  explicit Text(const Options& options) {
    for (const fs::path& path : options.texts) {
      files_.emplace_back(path);
      if (files_.size() > 1) add(options.separator);
      add({reinterpret_cast<const char*>(files_.back().bytes().data()), files_.back().size()});
    }
    if (options.shuffle_lines) shuffle_lines(*options.shuffle_lines);
    for (const std::string_view piece : pieces_) size_ += static_cast<mi::Index>(piece.size());
    if (size_ == 0) mi::fail("there is no text in ", files_.size() == 1 ? "the file" : "the files");
  }

  mi::Index size() const { return size_; }
  const std::vector<std::string_view>& pieces() const { return pieces_; }

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
  for (const Output& output : outputs) {
    std::error_code ignored;
    if (!fs::exists(output.path, ignored)) continue;
    for (const fs::path& text : options.texts)
      if (fs::equivalent(output.path, text, ignored))
        mi::fail(output.path.string(), " is one of the texts; choose another name with --out");
    if (!options.force) mi::fail(output.path.string(), " exists already; --force replaces it");
  }
}

/// Shows how far the work has come, and answers Ctrl-C.
class Progress {
 public:
  explicit Progress(mi::Index size) : size_(size) {}

  void advance(std::size_t bytes) {
    done_ += static_cast<mi::Index>(bytes);
    if (!line_.due() || line_.elapsed() < 1) return;  // small inputs need no progress
    const double rate = static_cast<double>(done_) / line_.elapsed();
    line_.show(mi::text(100 * done_ / size_, " %  ", mi::count_text(rate), "B/s  ",
                        mi::duration_text(static_cast<double>(size_ - done_) / rate), " left"));
  }
  void end() { line_.end_line(); }
  bool stopped() const { return interrupt_.requested(); }
  int exit_code() const { return interrupt_.exit_code(); }

 private:
  mi::Interrupt interrupt_{"\nStopping.\n"};
  mi::ProgressLine line_;
  mi::Index size_, done_ = 0;
};

/// Writes the part of the text that lies in `range`; stops early where the user wishes so.
void write(const Text& text, mi::Range range, mi::TokenWriter& writer, Progress& progress) {
  constexpr std::size_t most = std::size_t{1} << 20;
  mi::Index begin = 0;  // of the piece
  for (const std::string_view piece : text.pieces()) {
    const mi::Index end = begin + static_cast<mi::Index>(piece.size());
    const mi::Index from = std::max(begin, range.begin), to = std::min(end, range.end);
    if (from < to) {
      std::string_view rest =
          piece.substr(static_cast<std::size_t>(from - begin), static_cast<std::size_t>(to - from));
      while (!rest.empty() && !progress.stopped()) {
        const std::string_view chunk = rest.substr(0, most);
        writer.append_bytes(chunk);
        progress.advance(chunk.size());
        rest.remove_prefix(chunk.size());
      }
    }
    begin = end;
  }
}

int prepare(const Options& options) {
  const Text text(options);
  const std::vector<Output> files = outputs(options, text);
  check_free(files, options);

  std::vector<mi::TokenWriter> writers;
  Progress progress(text.size());
  for (const Output& file : files) write(text, file.range, writers.emplace_back(file.path), progress);
  if (progress.stopped()) return progress.exit_code();
  progress.end();
  // All are complete before the first one takes its place.
  for (std::size_t i = 0; i < files.size(); ++i) {
    writers[i].commit();
    std::cout << files[i].path.string() << ": " << writers[i].size() << " tokens\n";
  }
  return 0;
}

}  // namespace

int main(int argc, char* argv[]) {
  Options options;
  CLI::App app("Makes token files, to train and evaluate on, from text.", "prepare");
  app.add_flag("--bytes", options.bytes, "every byte of the text is a token (vocabulary 256)")->required();
  app.add_option("TEXT", options.texts, "text files; several are taken one after another")->required();
  app.add_option("--out", options.out, "the token file to write; it appears when it is complete")
      ->required()
      ->type_name("FILE");
  app.add_option("--split", options.split,
                 "percentages such as 90,5,5: writes OUT.train.bin, OUT.validation.bin and OUT.test.bin (of "
                 "OUT.bin), cut between lines; two percentages: no test file")
      ->type_name("PERCENT");
  auto* const shuffle = app.add_option("--shuffle-lines", options.shuffle_lines,
                                       "put all lines in a random order; the same SEED gives the same order")
                            ->type_name("SEED");
  app.add_option(
         "--separator", options.separator,
         "put these bytes between one text and the next, as they are: no escapes, so write $'\\n' for a "
         "line feed (default: nothing)")
      ->type_name("BYTES")
      ->excludes(shuffle);
  app.add_flag("--force", options.force, "replace files that exist already");
  return run_program(app, argc, argv, [&] { return prepare(options); });
}
