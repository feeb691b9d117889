// Continues a text, token by token, with the model's tokenizer.json; the tokens of a model of 256 without one
// are bytes. Build it for the checkpoint's shape with `bash examples/build_for.sh DIRECTORY`.
//
//     sample CHECKPOINT_DIR --prompt "In the beginning" --max-tokens 200 --temperature 0.8
//
// The text comes out token by token, with a line feed behind it, and the speed on standard error. Several
// prompts are continued together: their texts follow in order, a line "---" between two.
#include <optional>

#include "common.hpp"
#include "load_tokenizer.hpp"
#include "midus/io/generation_config.hpp"
#include "midus/model/generate.hpp"
#include "midus/tokenizer.hpp"
#include "midus_model.hpp"

namespace {

using midus::fail, midus::Index;

struct Options {
  std::string directory;
  midus::Dtype store = midus::Dtype::f32;
  std::vector<std::string> prompts;
  std::optional<std::string> prompt_file;
  std::optional<Index> max_tokens;
  std::vector<std::string> stop;
  bool no_prompt = false, chat = false;
  std::optional<std::string> system;
  midus::GenerateOptions generate;
  int threads = 0;
};

/// Text to tokens and back: by the model's tokenizer, or byte by byte.
class Text {
 public:
  explicit Text(const std::string& directory, Index vocabulary) {
    if (is_byte_model(directory, vocabulary)) return;
    if (!midus::may_exist(std::filesystem::path(directory) / "tokenizer.json"))
      fail(directory, " has no tokenizer.json, and its vocabulary of ", vocabulary,
           " is not that of bytes (256)");
    tokenizer_ = load_tokenizer(directory);
    tokenizer_->expect_to_fit(vocabulary);
  }

  /// A whole text, with the special tokens around it that it does not spell itself, or a part of one.
  std::vector<std::int32_t> encode(std::string_view text, bool whole = true) const {
    if (tokenizer_) {
      midus::TextEncoder encoder(*tokenizer_);
      return whole ? encoder.document(text) : encoder(text, false);
    }
    std::vector<std::int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  /// A token as tokenizer.json spells it, or a text that is one token.
  std::int32_t id_of(const std::string& token) const {
    if (const auto id = tokenizer_ ? tokenizer_->id_of(token) : std::nullopt) return *id;
    const std::vector<std::int32_t> ids = encode(token, false);
    if (ids.size() != 1)
      fail("--stop: there is no token ", midus::in_quotes(token), "; as a text it is ", ids.size(),
           " tokens");
    return ids[0];
  }
  /// A text begins with these tokens: what follows may depend on them.
  void start(const std::vector<std::int32_t>& ids) {
    if (!tokenizer_) return;
    stream_.emplace(*tokenizer_);
    for (const std::int32_t id : ids) stream_->push(id);
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

std::vector<std::string> prompts(const Options& options) {
  if (!options.prompt_file) return options.prompts;
  return {std::string(midus::MappedFile(*options.prompt_file).text())};
}

/// What the model's chat template makes of a user's message.
std::string chat_of(const Options& options, const std::string& message) {
  midus::Json messages = midus::Json::array();
  if (options.system) messages.push_back({{"role", "system"}, {"content", *options.system}});
  messages.push_back({{"role", "user"}, {"content", message}});
  return midus::chat_text(options.directory, messages);
}

/// Throws where a token behind a prompt would have a position that the model does not know.
void check_max_tokens(Index wanted, const std::vector<std::vector<std::int32_t>>& ids, Index positions) {
  for (const std::vector<std::int32_t>& prompt : ids)
    if (const Index room = positions - static_cast<Index>(prompt.size()); wanted > room)
      fail("--max-tokens ", wanted, ": behind the prompt's ", prompt.size(), " tokens there is room for ",
           room, " (max_position_embeddings is ", positions, ")");
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int sample(const Options& options) {
  constexpr Index vocabulary = midus_model::Model::vocab_size;
  const midus::LlamaConfig config = model_config<midus_model::Model>(options.directory);
  Text text(options.directory, vocabulary);
  midus::GenerateOptions how = options.generate;
  how.stop = midus::read_end_tokens(options.directory, config);
  for (const std::string& token : options.stop) how.stop.push_back(text.id_of(token));
  const midus::Sampler checked(how.sampling);  // throws before anything is loaded or printed
  const std::vector<std::string> given = prompts(options);
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::string& prompt : given)
    ids.push_back(options.chat ? text.encode(chat_of(options, prompt), false) : text.encode(prompt));
  midus::check_prompts(ids, config.max_position_embeddings);
  if (options.max_tokens) {
    check_max_tokens(*options.max_tokens, ids, config.max_position_embeddings);
    how.max_tokens = *options.max_tokens;
  }

  midus::Cpu<float> device(options.threads);
  auto model = load_model<midus_model::Model>(options.directory, device,
                                              {.store_bfloat16 = options.store == midus::Dtype::bf16});
  const bool alone = given.size() == 1;
  const auto start = [&](std::size_t i) {
    if (i > 0) print("\n---\n");
    text.start(ids[i]);
    if (!options.no_prompt && !options.chat) print(given[i]);
  };
  if (alone) start(0);
  const midus::Generated generated = midus::generate(model, ids, how, [&](std::size_t, std::int32_t id) {
    if (alone) print(text.push(id));
  });
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (!alone) {
      start(i);
      for (const std::int32_t id : generated.ids[i]) print(text.push(id));
    }
    print(text.finish());
  }
  print("\n");  // what a terminal and the tools of a shell expect
  std::fprintf(stderr, "prompt %.1f tokens/s, text %.1f tokens/s\n", generated.prompt_tokens_per_s,
               generated.tokens_per_s);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Continues a text. It is taken as it is: there are no escapes, so write $'\\n' for a line feed.",
      "sample");
  Options options;
  app.add_option("CHECKPOINT_DIR", options.directory, "The model's directory")->required();
  auto* const text =
      app.add_option("--prompt", options.prompts, "The text to continue; may be given several times")
          ->expected(1)  // a word each time
          ->take_all();
  auto* const file = app.add_option("--prompt-file", options.prompt_file, "A file with the text to continue");
  text->excludes(file);
  midus::SamplingOptions& sampling = options.generate.sampling;
  add_number(app, "--max-tokens", options.max_tokens, "Tokens to add (default: 200, or what fits)", 0);
  add_number(app, "--temperature", sampling.temperature, "0: always the most probable token", 0);
  add_number(app, "--top-k", sampling.top_k, "Draw from the K most probable; 0: from all", 0);
  add_number(app, "--top-p", sampling.top_p, "Draw from the fewest tokens that have probability P", 0, 1);
  add_number(app, "--min-p", sampling.min_p,
             "Leave out tokens that are less than P times as probable as the most probable one", 0, 1);
  add_number(app, "--repetition-penalty", sampling.repetition_penalty,
             "Above 1: tokens that occurred become less probable");
  app.add_option(
      "--stop", options.stop,
      "Tokens to stop at, beside the eos_token_id of generation_config.json, or where that has none, of "
      "config.json: each as tokenizer.json spells it, or "
      "a text that is one token, such as ' the'");
  auto* const chat =
      app.add_flag("--chat", options.chat,
                   "The text is a user's message: continue what the model's chat template makes of "
                   "it, and print the answer alone");
  app.add_option("--system", options.system, "With --chat: the system's message before it")->needs(chat);
  app.add_flag("--no-prompt", options.no_prompt, "Print what follows the prompt alone");
  add_seed(app, options.generate.seed, "The same seed gives the same text");
  add_store(app, options.store);
  add_threads(app, options.threads);
  return run_program(app, argc, argv, [&] {
    if (options.prompts.empty() && !options.prompt_file) fail("give --prompt or --prompt-file");
    return sample(options);
  });
}
