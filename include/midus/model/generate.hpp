// Continues prompts, token by token.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/view.hpp"
#include "midus/model/sampling.hpp"

namespace midus {

/// When continuations end, and how their tokens are drawn.
struct GenerateOptions {
  Index max_tokens = 200;      ///< the most that are added to a prompt
  std::vector<Index> stop{};   ///< tokens that end a text and are no part of it
  SamplingOptions sampling{};  ///< every text has a sampler of its own
  std::uint64_t seed = 0;      ///< of each of them: a text does not depend on those beside it
};

/// What was added to every prompt, and how fast.
struct Generated {
  std::vector<std::vector<std::int32_t>> ids;
  double prompt_tokens_per_s = 0;  ///< of the prompts' tokens
  double tokens_per_s = 0;         ///< of what was added behind a prompt's first token; 0: nothing was
};

/// Throws `Error` where a prompt is empty, or has more tokens than the model knows positions.
inline void check_prompts(const std::vector<std::vector<std::int32_t>>& prompts, Index positions) {
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::string name = prompts.size() == 1 ? "the prompt" : "prompt " + std::to_string(i + 1);
    if (prompts[i].empty())
      fail(name, " is empty, and nothing was put at its beginning: give at least one token");
    if (static_cast<Index>(prompts[i].size()) > positions)
      fail(name, " has ", prompts[i].size(), " tokens; the model knows ", positions,
           " positions (max_position_embeddings)");
  }
}

/// Continues every prompt until a stop token, `max_tokens`, or the last position that the model knows. The
/// prompts may have unequal lengths; to rounding each gets what it gets alone. Calls said(prompt, id) as soon
/// as a token is added. Throws `Error` as `check_prompts`, `Sampler` and the model's `infer` do.
template <class Model, class F>
Generated generate(Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
                   const GenerateOptions& options, F&& said) {
  using Ids = View<const std::int32_t, 2>;
  using Clock = std::chrono::steady_clock;
  const Index positions = model.settings().max_position_embeddings;
  check_prompts(prompts, positions);
  if (options.max_tokens < 0) fail("max-tokens must be at least 0, found ", options.max_tokens);

  std::vector<std::vector<std::int32_t>> texts = prompts;
  std::vector<Sampler> samplers(texts.size(), Sampler(options.sampling, options.seed));
  const auto length = [&](std::size_t i) { return static_cast<Index>(texts[i].size()); };
  std::vector<Index> longest;  // what each text may become
  for (std::size_t i = 0; i < texts.size(); ++i)
    longest.push_back(length(i) + std::min(options.max_tokens, positions - length(i)));
  // Adds the token that follows text i; whether it goes on.
  const auto extend = [&](std::size_t i, const auto& logits, Index row) {
    const View<const typename Model::Scalar, 1> of_text = logits.slice(row, 1).flat();
    const std::int32_t id = samplers[i](of_text, texts[i]);
    if (std::find(options.stop.begin(), options.stop.end(), id) != options.stop.end()) return false;
    texts[i].push_back(id);
    said(i, id);
    return length(i) < longest[i];
  };

  auto& device = model.device();
  const auto batch = static_cast<Index>(texts.size());
  auto cache = model.make_cache(batch, batch == 0 ? 0 : *std::max_element(longest.begin(), longest.end()));
  const Clock::time_point start = Clock::now();
  Index read = 0, added = 0;
  std::vector<std::size_t> going;  // the texts that go on, in the order of the cache's first sequences
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (length(i) == longest[i]) continue;
    const auto scope = device.scope();
    const auto sequence = static_cast<Index>(going.size());
    const auto logits = model.infer(Ids(texts[i].data(), Shape{Index{1}, length(i)}), cache, sequence);
    read += length(i);
    if (extend(i, logits, 0))
      going.push_back(i);
    else
      cache.truncate(sequence, 0);
  }
  const Clock::time_point between = Clock::now();
  std::vector<std::int32_t> last;
  while (!going.empty()) {
    const auto scope = device.scope();
    last.clear();
    for (const std::size_t i : going) last.push_back(texts[i].back());
    const auto count = static_cast<Index>(going.size());
    const auto logits = model.infer(Ids(last.data(), Shape{count, Index{1}}), cache);
    added += count;
    for (Index b = count; b-- > 0;) {  // backwards: the last one takes the place of one that ends
      const auto at = static_cast<std::size_t>(b);
      if (extend(going[at], logits, b)) continue;
      cache.copy(device, static_cast<Index>(going.size()) - 1, b);
      going[at] = going.back();
      going.pop_back();
    }
  }

  Generated generated;
  const auto per_s = [](Index tokens, Clock::duration time) {
    return tokens == 0 ? 0 : static_cast<double>(tokens) / std::chrono::duration<double>(time).count();
  };
  generated.prompt_tokens_per_s = per_s(read, between - start);
  generated.tokens_per_s = per_s(added, Clock::now() - between);
  for (std::size_t i = 0; i < texts.size(); ++i)
    generated.ids.emplace_back(texts[i].begin() + static_cast<std::ptrdiff_t>(prompts[i].size()),
                               texts[i].end());
  return generated;
}
template <class Model>
Generated generate(Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
                   const GenerateOptions& options = {}) {
  return generate(model, prompts, options, [](std::size_t, std::int32_t) {});
}

}  // namespace midus
