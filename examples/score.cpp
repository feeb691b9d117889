// Scores a model on texts and questions as lm-evaluation-harness does: word and byte perplexity of documents,
// accuracy on multiple choice. Build it for the checkpoint's shape with `bash examples/build_for.sh
// DIRECTORY`.
//
//     score CHECKPOINT_DIR --perplexity wikitext.jsonl
//     score CHECKPOINT_DIR --multiple-choice arc.jsonl --length 2048
//
// A line of the first is {"text": ...}; of the second {"context": ..., "choices": [...], "answer": 0}. What
// is computed, and how the harness's tasks become such files, is in docs/evaluation.md.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "common.hpp"
#include "load_tokenizer.hpp"
#include "midus/text/documents.hpp"
#include "midus/tokenizer.hpp"
#include "midus_model.hpp"

namespace {

using midus::fail, midus::Index;

struct Options {
  std::string directory, perplexity, multiple_choice, json, samples, delimiter = " ";
  std::string text_field = "text", counted_field, context_field = "context", choices_field = "choices",
              answer_field = "answer";
  midus::Dtype store = midus::Dtype::f32;
  std::optional<Index> length, limit;
  std::optional<std::int32_t> prefix;
  Index batch = 16;
  int threads = 0;
  bool no_special_tokens = false;
};

/// Calls f(object) for every line of a JSONL file that is not blank, the first `limit` of them.
template <class F>
void for_lines(const std::string& path, std::optional<Index> limit, F&& f) {
  const midus::MappedFile file(path);
  Index count = 0;
  midus::for_jsonl_objects(file.text(), path, 1, [&](const midus::JsonObject& line) {
    f(line);
    return ++count != limit;
  });
  if (count == 0) fail(path, " has no line with an object");
}

/// Calls work(); what it throws says where the line is.
template <class Work>
void at_line(const midus::JsonObject& line, Work&& work) {
  try {
    work();
  } catch (const midus::Error& error) {
    fail(line.file(), ": ", error.what());
  }
}

/// The log-likelihoods of requests, a batch of about equally long ones at a time.
template <class Model>
std::vector<double> log_likelihoods(Model& model, const std::vector<midus::ScoringRequest>& requests,
                                    Index rows) {
  std::vector<std::size_t> order(requests.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t i) { return requests[i].ids.size(); });
  std::vector<double> results(requests.size());
  midus::ProgressLine line;
  for (std::size_t begin = 0; begin < order.size(); begin += static_cast<std::size_t>(rows)) {
    const std::size_t count = std::min(order.size() - begin, static_cast<std::size_t>(rows));
    const std::size_t length = std::max<std::size_t>(requests[order[begin]].ids.size(), 2) - 1;
    std::vector<std::int32_t> ids(count * length), targets(count * length, midus::ignored_target);
    for (std::size_t row = 0; row < count; ++row) {
      const midus::ScoringRequest& request = requests[order[begin + row]];
      for (std::size_t t = 0; t + 1 < request.ids.size(); ++t) {
        ids[row * length + t] = request.ids[t];
        if (t + 1 + static_cast<std::size_t>(request.scored) >= request.ids.size())
          targets[row * length + t] = request.ids[t + 1];
      }
    }
    const midus::Shape<2> shape{{static_cast<Index>(count), static_cast<Index>(length)}};
    const auto scope = model.device().scope();
    const auto losses = model.losses({{ids.data(), shape}, {targets.data(), shape}});
    for (std::size_t row = 0; row < count; ++row)
      for (std::size_t t = 0; t < length; ++t)
        results[order[begin + row]] -= static_cast<double>(losses(static_cast<Index>(row * length + t)));
    const std::size_t done = begin + count;
    if (line.due(done == order.size())) line.show(midus::text("scored  ", 100 * done / order.size(), " %"));
  }
  line.end_line();
  return results;
}

/// What a file of documents asks for.
struct Documents {
  std::vector<midus::ScoringRequest> requests;
  std::vector<std::size_t> document;  ///< of each request
  std::vector<double> words, bytes;   ///< of each document
  std::vector<Index> tokens;          ///< of each document

  Documents(const Options& options, midus::ScoringEncoder& encode, Index length) {
    if (options.perplexity.empty()) return;
    for_lines(options.perplexity, options.limit, [&](const midus::JsonObject& line) {
      const std::string text = line.string(options.text_field);
      std::vector<std::int32_t> ids;
      at_line(line, [&] { ids = encode(text); });
      tokens.push_back(static_cast<Index>(ids.size()));
      for (midus::ScoringRequest& window : midus::rolling_windows(ids, encode.prefix(), length)) {
        requests.push_back(std::move(window));
        document.push_back(words.size());
      }
      const std::string& field = options.counted_field;
      const std::string counted = field.empty() ? text : line.string(field);
      words.push_back(static_cast<double>(midus::words_in(counted)));
      bytes.push_back(static_cast<double>(counted.size()));
    });
    if (requests.empty() || std::ranges::max(bytes) == 0)
      fail(options.perplexity, ": every document is empty, so there is nothing to score");
  }
};

/// What a file of questions asks for.
struct Questions {
  std::vector<midus::ScoringRequest> requests;    ///< one for each choice
  std::vector<std::vector<std::string>> choices;  ///< of each question
  std::vector<std::size_t> answers;               ///< of each question
  Index cut = 0;                                  ///< questions whose context does not fit, and is cut

  Questions(const Options& options, midus::ScoringEncoder& encode, Index length) {
    if (options.multiple_choice.empty()) return;
    for_lines(options.multiple_choice, options.limit, [&](const midus::JsonObject& line) {
      const std::string context = line.string(options.context_field);
      choices.push_back(line.strings(options.choices_field));
      if (choices.back().empty()) line.refuse(options.choices_field, "at least one choice");
      // By the delimiter's log-likelihood alone an empty one would win, and it has none per character.
      if (std::ranges::count(choices.back(), "") > 0)
        line.refuse(options.choices_field, "choices of at least one character each");
      const auto last = static_cast<Index>(choices.back().size()) - 1;
      answers.push_back(static_cast<std::size_t>(line.integer(options.answer_field, 0, last)));
      bool fits = true;
      at_line(line, [&] {
        for (const std::string& choice : choices.back()) {
          requests.push_back(
              midus::continuation_request(encode, context, options.delimiter + choice, length));
          fits = fits && requests.back().cut == 0;
        }
      });
      cut += fits ? 0 : 1;
    });
  }
};

/// A standard error, null where there is none.
midus::Json error_in_json(double error) { return std::isnan(error) ? midus::Json() : midus::Json(error); }

/// Σ log-likelihoods over words and bytes of documents; what each has goes to `samples`, a line each.
template <class Model>
midus::Json perplexity(Model& model, const Documents& documents, const Options& options,
                       std::string& samples) {
  const std::vector<double> scores = log_likelihoods(model, documents.requests, options.batch);
  std::vector<double> nats(documents.words.size());  // of each document
  for (std::size_t i = 0; i < scores.size(); ++i) nats[documents.document[i]] -= scores[i];
  for (std::size_t i = 0; i < nats.size(); ++i)
    samples += midus::dump_json_line({{"file", options.perplexity},
                                      {"index", i},
                                      {"log_likelihood", -nats[i]},
                                      {"tokens", documents.tokens[i]},
                                      {"words", documents.words[i]},
                                      {"bytes", documents.bytes[i]}}) +
               "\n";
  const midus::MeanWithError by_word = midus::ratio_with_error(nats, documents.words),
                             by_byte = midus::ratio_with_error(nats, documents.bytes);
  midus::Json json;
  json["file"] = options.perplexity;
  json["documents"] = documents.words.size();
  json["word_perplexity"] = std::exp(by_word.mean);
  json["word_perplexity_stderr"] = error_in_json(std::exp(by_word.mean) * by_word.error);
  json["byte_perplexity"] = std::exp(by_byte.mean);
  json["byte_perplexity_stderr"] = error_in_json(std::exp(by_byte.mean) * by_byte.error);
  json["bits_per_byte"] = by_byte.mean / std::numbers::ln2;
  json["bits_per_byte_stderr"] = error_in_json(by_byte.error / std::numbers::ln2);
  return json;
}

/// Accuracy by log-likelihood, and by log-likelihood per character; what was asked, what each choice is worth
/// and which is taken goes to `samples`, a line for each question.
template <class Model>
midus::Json multiple_choice(Model& model, const Questions& questions, const Options& options,
                            std::string& samples) {
  const auto& choices = questions.choices;
  const std::vector<double> scores = log_likelihoods(model, questions.requests, options.batch);
  std::vector<double> right, right_per_character;
  for (std::size_t question = 0, at = 0; question < choices.size(); at += choices[question++].size()) {
    const auto of_choices = std::span(scores).subspan(at, choices[question].size());
    const auto chosen = midus::choose(of_choices, choices[question]);
    right.push_back(chosen.best == questions.answers[question] ? 1 : 0);
    right_per_character.push_back(chosen.best_per_character == questions.answers[question] ? 1 : 0);
    std::vector<Index> tokens, cut;
    for (const midus::ScoringRequest& request :
         std::span(questions.requests).subspan(at, choices[question].size())) {
      tokens.push_back(request.scored);
      cut.push_back(request.cut);
    }
    samples += midus::dump_json_line({{"file", options.multiple_choice},
                                      {"index", question},
                                      {"choices", choices[question]},
                                      {"log_likelihoods", std::vector(of_choices.begin(), of_choices.end())},
                                      {"tokens", tokens},
                                      {"cut", cut},
                                      {"chosen", chosen.best},
                                      {"chosen_per_character", chosen.best_per_character},
                                      {"answer", questions.answers[question]}}) +
               "\n";
  }
  const midus::MeanWithError acc = midus::mean_with_error(right),
                             norm = midus::mean_with_error(right_per_character);
  midus::Json json;
  json["file"] = options.multiple_choice;
  json["questions"] = choices.size();
  json["contexts_cut"] = questions.cut;
  json["acc"] = acc.mean;
  json["acc_stderr"] = error_in_json(acc.error);
  json["acc_norm"] = norm.mean;
  json["acc_norm_stderr"] = error_in_json(norm.error);
  return json;
}

void print(const midus::Json& results) {
  for (const auto& result : results) {
    std::printf("%s, %lld %s\n", result["file"].get<std::string>().c_str(),
                result.value("documents", result.value("questions", 0LL)),
                result.contains("documents") ? "documents" : "questions");
    for (const char* const name : {"word_perplexity", "byte_perplexity", "bits_per_byte", "acc", "acc_norm"})
      if (result.contains(name)) {
        const midus::Json& error = result[std::string(name) + "_stderr"];
        std::printf("  %-16s %12.4f", name, result[name].get<double>());
        if (error.is_null())
          std::printf("  (no standard error of one)\n");
        else
          std::printf(" ± %.4f\n", error.get<double>());
      }
    if (const long long cut = result.value("contexts_cut", 0LL); cut > 0)
      std::printf("  of %lld questions the context was cut on the left, since the model cannot read it all\n",
                  cut);
  }
}

/// The token that begins a text: --prefix, the tokenizer's begin or else its end token, or else
/// config.json's.
std::int32_t prefix_token(const Options& options, const midus::Tokenizer& tokenizer,
                          const midus::LlamaConfig& config) {
  if (options.prefix) return *options.prefix;
  const std::filesystem::path file = std::filesystem::path(options.directory) / "tokenizer_config.json";
  if (midus::may_exist(file)) {
    const midus::Json json = midus::read_json_file(file);
    const midus::JsonObject settings(json, file.string());
    for (const char* const key : {"bos_token", "eos_token"}) {
      if (!settings.has(key)) continue;
      const std::string token =
          settings.find(key)->is_object() ? settings.object(key).string("content") : settings.string(key);
      if (const auto id = tokenizer.id_of(token)) return *id;
      settings.refuse(key, "a token of " + tokenizer.file + ", or --prefix with an id");
    }
  }
  const std::vector<Index>& ids = config.bos_token_ids.empty() ? config.eos_token_ids : config.bos_token_ids;
  if (ids.empty())
    fail(
        options.directory,
        ": config.json has neither bos_token_id nor eos_token_id, and there is no tokenizer_config.json with "
        "bos_token or eos_token; say with --prefix which token begins a text");
  return static_cast<std::int32_t>(ids[0]);
}

int score(const Options& options) {
  using Config = midus_model::Model;
  const midus::LlamaConfig config = model_config<Config>(options.directory);
  const Index positions = config.max_position_embeddings;
  const Index length = window_length(options.length, positions, positions);
  if (!midus::may_exist(std::filesystem::path(options.directory) / "tokenizer.json"))
    fail(options.directory, " has no tokenizer.json, and texts cannot become tokens; copy the model's there");
  const midus::Tokenizer tokenizer = load_tokenizer(options.directory);
  tokenizer.expect_to_fit(Config::vocab_size);
  const std::int32_t prefix = prefix_token(options, tokenizer, config);
  if (prefix < 0 || prefix >= Config::vocab_size)
    fail("the token that begins a text is ", prefix, "; expected an id below ", Config::vocab_size);
  check_outputs({{"--json", options.json}, {"--samples", options.samples}},
                {options.directory, options.perplexity, options.multiple_choice});
  std::printf("a text begins with the token %d%s\n", prefix,
              prefix < tokenizer.vocab_size()
                  ? (" (" + midus::in_quotes(tokenizer.decode(std::span(&prefix, 1), false)) + ")").c_str()
                  : "");

  midus::ScoringEncoder encode(tokenizer, prefix, !options.no_special_tokens);
  const Documents documents(options, encode, length);  // a mistake in a file costs no work
  const Questions questions(options, encode, length);
  midus::Cpu<float> device(options.threads);
  auto model =
      load_model<Config>(options.directory, device, {.store_bfloat16 = options.store == midus::Dtype::bf16});
  midus::Json results = midus::Json::array();
  std::string samples;
  if (!options.perplexity.empty()) results.push_back(perplexity(model, documents, options, samples));
  if (!options.multiple_choice.empty())
    results.push_back(multiple_choice(model, questions, options, samples));
  print(results);
  if (!options.samples.empty()) midus::write_file(options.samples, samples);
  if (!options.json.empty()) midus::write_file(options.json, midus::dump_json(results) + "\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Perplexity of texts, and accuracy on multiple choice, as lm-evaluation-harness has them.",
               "score");
  Options options;
  app.add_option("CHECKPOINT_DIR", options.directory, "The model's directory, with its tokenizer.json")
      ->required();
  app.add_option("--perplexity", options.perplexity, "A JSONL file of documents");
  app.add_option("--multiple-choice", options.multiple_choice, "A JSONL file of questions");
  app.add_option("--text-field", options.text_field, "The member with a document's text")
      ->capture_default_str();
  app.add_option("--counted-field", options.counted_field,
                 "The member whose words and bytes are counted, where that is not the document's text");
  app.add_option("--context-field", options.context_field, "The member with what comes before the choices")
      ->capture_default_str();
  app.add_option("--choices-field", options.choices_field, "The member with the list of choices")
      ->capture_default_str();
  app.add_option("--answer-field", options.answer_field, "The member with the right choice's number, from 0")
      ->capture_default_str();
  app.add_option("--delimiter", options.delimiter, "Stands between context and choice (default: one blank)");
  add_number(app, "--prefix", options.prefix,
             "The id of the token that begins a text (default: the tokenizer's begin token, else its end "
             "token, else those of config.json)",
             0);
  app.add_flag("--no-special-tokens", options.no_special_tokens,
               "Encode texts without the special tokens that tokenizer.json puts around them");
  add_number(app, "--length", options.length,
             "Tokens that the model reads at most (default: the positions that it knows)", 1);
  add_number(app, "--limit", options.limit, "The first lines of each file only", 1);
  add_number(app, "--batch", options.batch, "Requests at once: memory, and results to rounding", 1);
  app.add_option("--json", options.json, "Write the numbers to this file too");
  app.add_option(
      "--samples", options.samples,
      "Write what each document and choice is worth, and which choice is taken, to this JSONL file");
  add_store(app, options.store);
  add_threads(app, options.threads);
  return run_program(app, argc, argv, [&] {
    if (options.perplexity.empty() && options.multiple_choice.empty())
      fail("give --perplexity or --multiple-choice");
    return score(options);
  });
}
