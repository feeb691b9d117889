// Continues a text, byte by byte, with a model whose tokens are bytes. Build it for the checkpoint's shape
// with `bash examples/build_for.sh DIRECTORY`.
//
//     sample CHECKPOINT_DIR --prompt "In the beginning" --max-tokens 200 --temperature 0.8
#include <algorithm>
#include <optional>

#include "common.hpp"
#include "midus/model/sampling.hpp"
#include "midus_model.hpp"

namespace {

using midus::fail, midus::Index;

struct Options {
  std::string directory;
  std::optional<std::string> prompt, prompt_file;
  std::optional<Index> max_tokens;
  midus::SamplingOptions sampling;
  std::uint64_t seed = 0;
  int threads = 0;
};

std::vector<std::int32_t> prompt(const Options& options) {
  std::string bytes = options.prompt.value_or("");
  if (options.prompt_file) {
    const midus::MappedFile file(*options.prompt_file);
    bytes.assign(reinterpret_cast<const char*>(file.bytes().data()), file.size());
  }
  if (bytes.empty()) fail("the prompt is empty: a model continues a text, so give at least one byte of it");
  std::vector<std::int32_t> ids;
  for (const char c : bytes) ids.push_back(static_cast<unsigned char>(c));
  return ids;
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

void print(std::int32_t byte) { std::fputc(byte, stdout); }

int sample(const Options& options) {
  constexpr Index vocabulary = midus_model::Model::vocab_size;
  const midus::LlamaConfig config = midus::read_llama_config(options.directory);
  midus::check_shape<midus_model::Model>(config, options.directory);
  if (!is_byte_model(options.directory, vocabulary))
    fail(options.directory, ": its tokens are not bytes (its vocabulary is ", vocabulary,
         vocabulary == 256 ? ", and there is a tokenizer.json" : "", "), and this program knows no others");
  midus::Sampler draw(options.sampling, options.seed);
  const std::vector<std::int32_t> ids = prompt(options);
  const auto length = static_cast<Index>(ids.size());
  const Index count = tokens_to_add(options, length, config.max_position_embeddings);

  midus::Cpu<float> device(options.threads);
  auto model = load_model<midus_model::Model>(options.directory, device);
  auto cache = model.make_cache(1, length + count);
  for (const std::int32_t id : ids) print(id);
  std::fflush(stdout);

  midus::View<const std::int32_t, 2> next{ids.data(), midus::Shape<2>{{1, length}}};
  std::int32_t token = 0;
  for (Index i = 0; i < count; ++i) {
    const auto scope = device.scope();
    token = draw(midus::View<const float, 1>(model.infer(next, cache).flat()));
    if (std::ranges::find(config.eos_token_ids, token) != config.eos_token_ids.end()) break;
    print(token);
    std::fflush(stdout);
    next = {&token, midus::Shape<2>{{1, 1}}};
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail("cannot write the text to standard output");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Continues a text with a model whose tokens are bytes.", "sample");
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
  add_seed(app, options.seed, "The same seed gives the same text");
  add_threads(app, options.threads);
  return run_program(app, argc, argv, [&] {
    if (!options.prompt && !options.prompt_file) fail("give --prompt or --prompt-file");
    return sample(options);
  });
}
