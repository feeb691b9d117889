// Continues a text, token by token, with the model's tokenizer.json; the tokens of a model of 256 without one
// are bytes. Build it for the checkpoint's shape with `bash examples/build_for.sh DIRECTORY`.
//
//     sample CHECKPOINT_DIR --prompt "In the beginning" --max-tokens 200 --temperature 0.8
#include <algorithm>
#include <optional>

#include "common.hpp"
#include "midus/model/sampling.hpp"
#include "midus/tokenizer.hpp"
#include "midus_model.hpp"

namespace {

using midus::fail, midus::Index;

struct Options {
  std::string directory;
  std::optional<std::string> prompt, prompt_file;
  std::optional<Index> max_tokens;
  std::vector<std::string> stop;
  midus::SamplingOptions sampling;
  std::uint64_t seed = 0;
  int threads = 0;
};

/// Text to tokens and back: by the model's tokenizer, or byte by byte.
class Text {
 public:
  explicit Text(const std::string& directory, Index vocabulary) {
    if (is_byte_model(directory, vocabulary)) return;
    if (!std::filesystem::exists(std::filesystem::path(directory) / "tokenizer.json"))
      fail(directory, " has no tokenizer.json, and its vocabulary of ", vocabulary,
           " is not that of bytes (256)");
    tokenizer_ = midus::read_tokenizer(directory);
    if (tokenizer_->vocab_size() > vocabulary)
      fail(tokenizer_->file, " has ids up to ", tokenizer_->vocab_size() - 1, ", the model a vocabulary of ",
           vocabulary, ": they do not belong together");
    stream_.emplace(*tokenizer_);
  }

  std::vector<std::int32_t> encode(std::string_view text) const {
    if (tokenizer_) return midus::TextEncoder(*tokenizer_)(text);
    std::vector<std::int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::int32_t id_of(const std::string& token) const {
    const auto id = tokenizer_ ? tokenizer_->id_of(token) : std::nullopt;
    if (!id) fail("--stop: there is no token ", midus::in_quotes(token));
    return *id;
  }
  /// What has become certain of the text.
  std::string push(std::int32_t id) {
    if (stream_) return stream_->push(id);
    return std::string(1, static_cast<char>(static_cast<unsigned char>(id)));
  }
  std::string finish() { return stream_ ? stream_->finish() : std::string(); }

 private:
  std::optional<midus::Tokenizer> tokenizer_;
  std::optional<midus::TextStream> stream_;
};

std::string prompt(const Options& options) {
  if (!options.prompt_file) return options.prompt.value_or("");
  const midus::MappedFile file(*options.prompt_file);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
}

/// How many tokens to add so that all have a position that the model knows.
Index tokens_to_add(const Options& options, Index prompt, Index positions) {
  constexpr Index unless_given = 200;
  const Index room = positions - prompt;
  if (room < 0)
    fail("the prompt has ", prompt, " tokens; the model knows ", positions,
         " positions (max_position_embeddings)");
  if (!options.max_tokens) return std::min(unless_given, room);
  if (*options.max_tokens < 0) fail("--max-tokens must be at least 0, found ", *options.max_tokens);
  if (*options.max_tokens > room)
    fail("--max-tokens ", *options.max_tokens, ": behind the prompt's ", prompt, " tokens there is room for ",
         room, " (max_position_embeddings is ", positions, ")");
  return *options.max_tokens;
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int sample(const Options& options) {
  constexpr Index vocabulary = midus_model::Model::vocab_size;
  const midus::LlamaConfig config = midus::read_llama_config(options.directory);
  midus::check_shape<midus_model::Model>(config, options.directory);
  Text text(options.directory, vocabulary);
  std::vector<Index> stop = config.eos_token_ids;
  for (const std::string& token : options.stop) stop.push_back(text.id_of(token));
  midus::Sampler draw(options.sampling, options.seed);
  const std::string given = prompt(options);
  std::vector<std::int32_t> ids = text.encode(given);
  if (ids.empty())
    fail("the prompt is empty, and the tokenizer puts no token at the beginning: give some text");
  const auto length = static_cast<Index>(ids.size());
  const Index count = tokens_to_add(options, length, config.max_position_embeddings);

  midus::Cpu<float> device(options.threads);
  auto model = load_model<midus_model::Model>(options.directory, device);
  auto cache = model.make_cache(1, length + count);
  print(given);

  ids.reserve(static_cast<std::size_t>(length + count));  // what `next` views stays where it is
  midus::View<const std::int32_t, 2> next{ids.data(), midus::Shape<2>{{1, length}}};
  for (const std::int32_t id : ids) text.push(id);  // what follows may depend on it
  for (Index i = 0; i < count; ++i) {
    const auto scope = device.scope();
    ids.push_back(draw(midus::View<const float, 1>(model.infer(next, cache).flat()), ids));
    if (std::ranges::find(stop, ids.back()) != stop.end()) break;
    print(text.push(ids.back()));
    next = {&ids.back(), midus::Shape<2>{{1, 1}}};
  }
  print(text.finish());
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail("cannot write the text to standard output");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Continues a text. It is taken as it is: there are no escapes, so write $'\\n' for a line feed.",
      "sample");
  Options options;
  app.add_option("CHECKPOINT_DIR", options.directory, "The model")->required();
  auto* const text = app.add_option("--prompt", options.prompt, "The text to continue");
  auto* const file = app.add_option("--prompt-file", options.prompt_file, "A file with the text to continue");
  text->excludes(file);
  app.add_option("--max-tokens", options.max_tokens, "Tokens to add (default: 200, or what fits)");
  app.add_option("--temperature", options.sampling.temperature, "0: always the most probable token")
      ->capture_default_str();
  app.add_option("--top-k", options.sampling.top_k, "Draw from the K most probable; 0: from all")
      ->capture_default_str();
  app.add_option("--top-p", options.sampling.top_p, "Draw from the fewest tokens that have probability P")
      ->capture_default_str();
  app.add_option("--min-p", options.sampling.min_p,
                 "Leave out tokens that are less than P times as probable as the most probable one")
      ->capture_default_str();
  app.add_option("--repetition-penalty", options.sampling.repetition_penalty,
                 "Above 1: tokens that occurred become less probable")
      ->capture_default_str();
  app.add_option("--stop", options.stop, "Tokens to stop at, beside the eos_token_id of config.json");
  add_seed(app, options.seed, "The same seed gives the same text");
  add_threads(app, options.threads);
  return run_program(app, argc, argv, [&] {
    if (!options.prompt && !options.prompt_file) fail("give --prompt or --prompt-file");
    return sample(options);
  });
}
